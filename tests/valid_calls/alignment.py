"""Losses of rewards."""

import jax.numpy as jnp
import numpy as np

from scorekit import schedules, solvers
from scorekit.samplers import LoggedSample
from scorekit.typing import Prediction
from valid_calls.common import X, floats
from valid_calls.kinds import Data, call

_PATH = np.stack([X, X, X])


def _denoiser(x, t):
    """Runs on anything."""
    return Prediction(0.5 * x, x)


_REWARDS = Data(floats(0.25, 0.75), "integer: 1 is a number")
USUAL = {
    "alignment": {
        **dict.fromkeys(("denoiser", "reference"), _denoiser),
        "schedule": schedules.LinearVP(),
        "solver": solvers.Ancestral(),
        "ts": Data(floats(1.0, 0.5, 0.1), "integer: only [1, 0] could be meant, and ones do not decrease"),
        "x_init": Data(X, "shape"),
        "x0": Data(X, "shape"),
        "old": lambda x, t: 0.5 * x,
        **dict.fromkeys(("optimality", "weights", "advantages"), _REWARDS),
        "rewards": Data(floats(0.25, 0.75), "integer"),
        "trajectory": Data(_PATH, "shape"),
        "path": Data(LoggedSample(X, _PATH, floats([0.5, 0.5], [0.5, 0.5])), alias="trajectory"),
        "reward": lambda x: jnp.sum(x.reshape(len(x), -1), axis=-1),
    }
}
_BY_USUAL = "nft_loss advantage_weighted_loss policy_gradient_loss path_kl advantages optimality adjoint_matching_loss"
ROWS = {f"alignment.{name}": call() for name in _BY_USUAL.split()}
ROWS["alignment.reward_gradient_loss"] = call(solver=solvers.Euler())

"""Losses of rewards, and steering to a reward."""

import jax.numpy as jnp
import numpy as np

from scorekit import solvers
from scorekit.samplers import LoggedSample
from valid_calls import samplers
from valid_calls.common import X, floats
from valid_calls.kinds import Data, call

_PATH = np.stack([X, X, X])
_REWARDS = Data(floats(0.25, 0.75), "integer: 1 is a number")
_SAMPLERS = samplers.USUAL["solvers samplers likelihood"]
USUAL = {
    "alignment": {
        **_SAMPLERS,
        "reference": _SAMPLERS["denoiser"],
        "solver": solvers.Ancestral(),
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
_BY_USUAL = """
    nft_loss advantage_weighted_loss policy_gradient_loss path_kl advantages optimality adjoint_matching_loss
    steered_sample
"""
ROWS = {f"alignment.{name}": call() for name in _BY_USUAL.split()}
ROWS["alignment.reward_gradient_loss"] = call(solver=solvers.Euler())
ROWS["alignment.best_of"] = call(x=Data(X, "shape, integer, nan: is drawn", alias="rewards"), num_candidates=2)

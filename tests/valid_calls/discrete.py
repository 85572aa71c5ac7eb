"""Discrete diffusion: sequences of two tokens of a vocabulary of two, and denoisers without parameters."""

import jax.numpy as jnp
import numpy as np

from scorekit import discrete
from scorekit.discrete import schedules
from scorekit.times import Times
from valid_calls.common import KEY, constant
from valid_calls.kinds import Argument, Classes, Data, Time, call

_PROCESS, _X0 = discrete.absorbing(2), np.array([[0, 1], [1, 1]])
_T, _MASKED = np.array([0.25, 0.5], np.float32), np.full((2, 2), 2)


def _denoiser(z, t):
    return jnp.full((*z.shape, 2), -jnp.log(2.0))


class _Where(Argument):
    """Tokens to predict: none, another shape, numbers."""

    def hostile(self):
        return {"none": np.zeros((2, 2), bool), "shape": np.ones((3, 2), bool), "number": np.ones((2, 2))}


class _LogProbs(Argument):
    """A denoiser: a network in its place, whose logits do not sum to 1."""

    def hostile(self):
        return {"logits": lambda z, t: jnp.ones((*z.shape, 2))}


_TRACED = _LogProbs(_denoiser, "logits: NaN, where every call is traced")
_ALL = _Where(np.ones((2, 2), bool))
USUAL = {
    "process": _PROCESS,
    "key": KEY,
    "x0": Classes(_X0, num_classes=2),
    "z_t": Classes(np.array([[2, 1], [1, 2]]), num_classes=3),
    "denoiser": _LogProbs(_denoiser),
    **dict.fromkeys(("cond", "uncond"), _denoiser),
    "guidance_scale": 2.0,
    "ts": Data(np.array([1.0, 0.5, 0.0], np.float32), "integer: only [1, 0] could be meant"),
    "z_init": Classes(_MASKED, num_classes=3),
    "t": Time(_T),
}
ROWS = {
    "discrete.first_hitting_sample": call(),
    **{f"discrete.{name}": call(then="z_t t", z_t=_MASKED, t=0.5) for name in ("classifier_free", "rate_guidance")},
    "discrete.classifier_guidance": call(
        then="z_t t", denoiser=_denoiser, log_likelihood=lambda z, t: jnp.zeros(2), z_t=jnp.asarray(_MASKED), t=0.5
    ),
    "discrete.denoiser_from_network": call(
        lambda target, logits, z_t: jnp.exp(
            discrete.denoiser_from_network(constant(logits), _PROCESS, target)(z_t, 0.5)
        ),
        target="posterior",
        logits=Data(np.zeros((2, 2, 2), np.float32), "integer; nan: of a mask that stays", alias="network"),
    ),
    "discrete.discrete_variational_bound": call(denoiser=_TRACED),
    "discrete.exact_denoiser": call(
        then="z_t t", log_prob=Data(np.log(np.full((2, 2), 0.25, np.float32)), "integer"), t=0.5
    ),
    "discrete.perturb": call(where=_ALL),
    "discrete.posterior": call(x0=np.array([[0, 1], [1, 0]]), s=0.1),
    "discrete.sample": call(solver=discrete.Ancestral()),
    "discrete.sample_prior": call(like=Classes(_X0, "negative, too large", num_classes=2)),
    "discrete.schedules.schedule_from_function": call(
        lambda alpha: schedules.schedule_from_function(constant(alpha)),
        alpha=Data(np.linspace(1.0, 0.0, 17, dtype=np.float32)),
    ),
    "discrete.token_loss": call(where=_ALL),
    "discrete.token_loss_at": call(times=Times(_T, np.ones(2, np.float32)), where=_ALL),
    "discrete.variational_bound": call(denoiser=_TRACED, num_times=2),
}

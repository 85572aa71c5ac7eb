"""Discrete diffusion: sequences of two tokens of a vocabulary of two, and denoisers without parameters."""

# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Argument, Call, Classes, Data, Time, call
from scorekit import discrete
from scorekit.discrete import schedules
from scorekit.times import Times

_KEY, _PROCESS = jax.random.key(0), discrete.absorbing(2)
_X0 = np.array([[0, 1], [1, 1]])
_TOKENS, _NOISY = Classes(_X0, num_classes=2), Classes(np.array([[2, 1], [1, 2]]), num_classes=3)
_TIME = Time(np.array([0.25, 0.5], np.float32))
_AT = Times(np.array([0.25, 0.5], np.float32), np.ones(2, np.float32))
_TS = Data(np.array([1.0, 0.5, 0.0], np.float32), {"integer": "only [1, 0] could be meant"})
_START = Classes(np.full((2, 2), 2), num_classes=3)
_JOINT = Data(np.log(np.full((2, 2), 0.25, np.float32)), {"integer": "becomes float32"})
_LOGITS = Data(
    np.zeros((2, 2, 2), np.float32), {"integer": "becomes float32", "nan": "of a mask that stays"}, alias="network"
)


def _denoiser(z, t):
    del t
    return jnp.full((*z.shape, 2), -jnp.log(2.0))


class _Where(Argument):
    """Tokens to predict: none, another shape, numbers."""

    def hostile(self):
        return {"none": np.zeros((2, 2), bool), "shape": np.ones((3, 2), bool), "number": np.ones((2, 2))}


class _LogProbs(Argument):
    """A denoiser: a network in its place, whose logits do not sum to 1."""

    def hostile(self):
        return {"logits": lambda z, t: jnp.ones((*z.shape, 2))}


_DENOISER = _LogProbs(_denoiser)
_TRACED = _LogProbs(_denoiser, {"logits": "NaN, where every call is traced"})
_ALL = _Where(np.ones((2, 2), bool))


def _guided(rule):
    return call(
        lambda guidance_scale, z_t: rule(_denoiser, _denoiser, guidance_scale)(z_t, 0.5),
        guidance_scale=2.0,
        z_t=np.full((2, 2), 2),
    )


ROWS: dict[str, Call] = {
    "discrete.absorbing": call(discrete.absorbing, num_tokens=2),
    "discrete.classifier_free": _guided(discrete.classifier_free),
    "discrete.classifier_guidance": call(
        lambda guidance_scale: discrete.classifier_guidance(_denoiser, lambda z, t: jnp.zeros(2), guidance_scale)(
            jnp.full((2, 2), 2), 0.5
        ),
        guidance_scale=2.0,
    ),
    "discrete.denoiser_from_network": call(
        lambda target, logits, z_t: jnp.exp(
            discrete.denoiser_from_network(lambda z, t: logits, _PROCESS, target)(z_t, 0.5)
        ),
        target="posterior",
        logits=_LOGITS,
        z_t=_NOISY,
    ),
    "discrete.discrete_variational_bound": call(
        discrete.discrete_variational_bound, key=_KEY, denoiser=_TRACED, process=_PROCESS, x0=_TOKENS, ts=_TS
    ),
    "discrete.exact_denoiser": call(
        lambda log_prob, z_t: discrete.exact_denoiser(log_prob, _PROCESS)(z_t, 0.5), log_prob=_JOINT, z_t=_NOISY
    ),
    "discrete.first_hitting_sample": call(
        discrete.first_hitting_sample, key=_KEY, denoiser=_DENOISER, process=_PROCESS, z_init=_START
    ),
    "discrete.perturb": call(discrete.perturb, key=_KEY, process=_PROCESS, x0=_TOKENS, t=_TIME, where=_ALL),
    "discrete.posterior": call(
        discrete.posterior, process=_PROCESS, z_t=_NOISY, x0=np.array([[0, 1], [1, 0]]), t=_TIME, s=0.1
    ),
    "discrete.rate_guidance": _guided(discrete.rate_guidance),
    "discrete.sample": call(
        discrete.sample, key=_KEY, denoiser=_DENOISER, process=_PROCESS, solver=discrete.Ancestral(), z_init=_START,
        ts=_TS,
    ),
    "discrete.sample_prior": call(
        discrete.sample_prior, key=_KEY, process=_PROCESS,
        like=Classes(_X0, {"negative": "only the shape matters", "too large": "only the shape matters"}, num_classes=2),
    ),
    "discrete.schedules.schedule_from_function": call(
        lambda alpha: schedules.schedule_from_function(lambda t: alpha),
        alpha=Data(np.linspace(1.0, 0.0, 17, dtype=np.float32)),
    ),
    "discrete.token_loss": call(
        discrete.token_loss, key=_KEY, denoiser=_DENOISER, process=_PROCESS, x0=_TOKENS, where=_ALL
    ),
    "discrete.token_loss_at": call(
        discrete.token_loss_at, denoiser=_DENOISER, process=_PROCESS, x0=_TOKENS, z_t=_NOISY, times=_AT, where=_ALL
    ),
    "discrete.uniform": call(discrete.uniform, num_tokens=2),
    "discrete.variational_bound": call(
        discrete.variational_bound, key=_KEY, denoiser=_TRACED, process=_PROCESS, x0=_TOKENS, num_times=2
    ),
}  # fmt: skip

EXEMPT: dict[str, str] = {
    "discrete.Ancestral": "has no hyper-parameters",
    "discrete.Process": "made by absorbing and uniform",
    "discrete.RateDenoiser": "made by the rules of guidance",
    "discrete.TauLeaping": "has no hyper-parameters",
    "discrete.TokenLossAux": "a result",
    "discrete.TokenSolver": "what solvers inherit",
}

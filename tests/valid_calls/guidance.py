"""Guidance, whose branches are constant, so that a row costs a few operations; operators, windows and sequences.

Discrete diffusion: sequences of two tokens of a vocabulary of two, and denoisers without parameters.
"""

import jax.numpy as jnp
import numpy as np

from scorekit import discrete
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import EACH, ENDS, FLOATS, TS, T, constant, fixed, ones
from valid_calls.kinds import Argument, Classes, Data, Shaped, call

_X, _SIGNAL = ones(2, 4, 1), ones(2, 4, 3)
_LOG = np.log(np.full((2, 2), 0.25, np.float32))
_LOGITS = Data(_LOG, "integer")
_COND, _UNCOND = fixed(_X), fixed(0.5 * _X)
_PROCESS, _X0, _MASKED = discrete.absorbing(2), np.array([[0, 1], [1, 1]]), np.full((2, 2), 2)


def _in_list(value):
    return [value]


def _mean_time(x, t, *condition):
    return Prediction(x + sum(c.reshape(-1, 1, 1) for c in condition), x + jnp.mean(t))


def _tokens(z, t):
    return jnp.full((*z.shape, 2), -jnp.log(2.0))


class _Where(Argument):
    """Tokens to predict: none, another shape, numbers."""

    def hostile(self):
        return {"none": np.zeros((2, 2), bool), "shape": np.ones((3, 2), bool), "number": np.ones((2, 2))}


class _LogProbs(Argument):
    """A denoiser: a network in its place, whose logits do not sum to 1."""

    def hostile(self):
        return {"logits": lambda z, t: jnp.ones((*z.shape, 2))}


_TRACED = _LogProbs(_tokens, "logits: NaN, where every call is traced")
USUAL = {
    "guidance": {
        **dict.fromkeys(("cond", "denoiser"), Shaped(_X, alias="prediction", of=fixed)),
        **dict.fromkeys(("uncond", "weak", "unguided"), _UNCOND),
        "unwanted": _COND,
        "conds": [_COND],
        "negative_scale": 2.0,
        "operator": lambda x: x,
        "observation": Data(_X),
        "x_t": Data(_X, alias="t"),
        "t": Data(T, ENDS),
        "x": Data(_SIGNAL),
        "size": 2,
    },
    "guidance.sequences": dict.fromkeys(("cond", "uncond"), _LOGITS),
    "discrete": {
        "process": _PROCESS,
        "x0": Classes(_X0, num_classes=2),
        "z_t": Classes(np.array([[2, 1], [1, 2]]), num_classes=3),
        "denoiser": _LogProbs(_tokens),
        "ts": Data(TS, "integer: only [1, 0] could be meant"),
        "z_init": Classes(_MASKED, num_classes=3),
        "solver": discrete.Ancestral(),
    },
}
_BY_USUAL = """
    guidance.apg guidance.autoguidance guidance.cfg_zero_star guidance.classifier_free guidance.dps
    guidance.dynamic_threshold guidance.frequency_decoupled guidance.negative guidance.rescale
    guidance.sequences.guide_joint guidance.sequences.guide_sequentially guidance.static_threshold
    guidance.temperature discrete.first_hitting_sample discrete.sample
"""
ROWS = {
    **dict.fromkeys(_BY_USUAL.split(), call()),
    "guidance.classifier_free/each": call(guidance_scale=FLOATS),
    "guidance.compose/each": call(guidance_scales=Data(EACH, "integer", of=_in_list), x_t=_X, t=0.5),
    "guidance.classifier_guidance": call(
        uncond=_COND, log_likelihood=Data(EACH, "integer", of=lambda each: lambda x, t: each * jnp.sum(x))
    ),
    "guidance.classifier_free_batched": call(
        cond=_mean_time,
        conditions=Data(EACH, "integer: the network takes integers; shape: and any shape", alias="conditions"),
        null_conditions=0.0,
        x_t=Data(_X, "shape", alias="t"),
    ),
    "guidance.temperature/each": call(tau=FLOATS),
    "guidance.several_observations/covariances": call(
        cond=lambda x, t, observation: Prediction(x + observation, x),
        observations=ones(2),
        prior=fixed(ones(2, 1)),
        method="gaussian",
        covariances=Data(ones(2, 1, 1), "integer"),
        prior_covariance=Data(2 * ones(1, 1), "integer"),
        x_t=ones(2, 1),
        t=0.5,
    ),
    "guidance.windowed": call(denoiser=_mean_time, x_t=Data(_X, "shape", alias="t"), hop=2),
    "guidance.operators.blur": call(kernel=Data(ones(3), "integer")),
    "guidance.operators.mask": call(keep=Shaped(np.ones((4, 3), bool))),
    "discrete.classifier_guidance": call(
        then="z_t t", denoiser=_tokens, log_likelihood=lambda z, t: jnp.zeros(2), z_t=jnp.asarray(_MASKED), t=0.5
    ),
    "discrete.denoiser_from_network": call(
        lambda target, logits, z_t: jnp.exp(
            discrete.denoiser_from_network(constant(logits), _PROCESS, target)(z_t, 0.5)
        ),
        logits=Data(np.zeros((2, 2, 2), np.float32), "integer; nan: of a mask that stays", alias="network"),
    ),
    "discrete.discrete_variational_bound": call(denoiser=_TRACED),
    "discrete.sample_prior": call(like=Classes(_X0, "negative, too large", num_classes=2)),
    **{
        f"discrete.{name}": call(where=_Where(np.ones((2, 2), bool)), **given)
        for name, given in {"perturb": {}, "token_loss": {}, "token_loss_at": {"times": Times(T, EACH)}}.items()
    },
    "discrete.variational_bound": call(denoiser=_TRACED, num_times=2),
}

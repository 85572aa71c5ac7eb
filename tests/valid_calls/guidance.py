"""Guidance, whose branches are constant, so that a row costs a few operations; operators, windows and sequences.

Discrete diffusion: sequences of two tokens of a vocabulary of two, and denoisers without parameters.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import discrete, guidance
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import EACH, ENDS, FLOATS, TS, T, constant, fixed, ones
from valid_calls.kinds import Argument, Choice, Classes, Data, Number, Shaped, call

_X, _SIGNAL = ones(2, 4, 1), ones(2, 4, 3)
_ANY = Data(EACH, "empty; shape: the density takes any shape; integer: the density takes integers")
_LOG = np.log(np.full((2, 2), 0.25, np.float32))
_LOGITS = Data(_LOG, "integer")
_COND, _UNCOND = fixed(_X), fixed(0.5 * _X)
_PROCESS, _X0, _MASKED = discrete.absorbing(2), np.array([[0, 1], [1, 1]]), np.full((2, 2), 2)


def _in_list(value):
    return [value]


def _mean_time(x, t, *condition):
    return Prediction(x + sum(c.reshape(-1, 1, 1) for c in condition), x + jnp.mean(t))


def _halved(x0):
    """A denoiser with a positive Jacobian, shaped like x0."""
    return lambda x, t: Prediction(jax.tree.map(lambda leaf: 0.5 * leaf * x.reshape(leaf.shape), x0), x)


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
        **dict.fromkeys(("uncond", "weak", "plain"), _UNCOND),
        "unwanted": _COND,
        "conditions": [_COND],
        "negative_scale": 2.0,
        "operator": lambda x: x,
        "observation": Data(_X),
        "x_t": Data(_X, alias="t"),
        "t": Data(T, ENDS),
        "x": Data(_SIGNAL),
        "size": 2,
        "hop": 1,
    },
    "guidance.sequences": dict.fromkeys(("cond", "uncond", "log_p", "log_q"), _LOGITS),
    "discrete": {
        "process": _PROCESS,
        "x0": Classes(_X0, num_classes=2),
        "z_t": Classes(np.array([[2, 1], [1, 2]]), num_classes=3),
        "denoiser": _LogProbs(_tokens),
        **dict.fromkeys(("cond", "uncond"), _tokens),
        "ts": Data(TS, "integer: only [1, 0] could be meant"),
        "z_init": Classes(_MASKED, num_classes=3),
        "solver": discrete.Ancestral(),
    },
}
ROWS = {
    **dict.fromkeys([f"guidance.{name}" for name in ("replacement", "pigdm", "mmps")], call(iterations=1)),
    "guidance.classifier_free/each": call(guidance_scale=FLOATS),
    "guidance.cfg_plus_plus": call(guidance_scale=0.5),
    "guidance.tangential": call(target=Choice("v")),
    "guidance.frequency_decoupled/factors": call(cond=_COND, x_t=_X, t=0.5, factors=Number(1.0, of=_in_list)),
    "guidance.compose": call(weights=Number(2.0, of=_in_list), x_t=Data(_X), t=0.5),
    "guidance.compose/each": call(weights=Data(EACH, "integer", of=_in_list), x_t=_X, t=0.5),
    "guidance.classifier_guidance": call(
        uncond=_COND, log_likelihood=Data(EACH, "integer", of=lambda each: lambda x, t: each * jnp.sum(x))
    ),
    "guidance.classifier_free_batched": call(
        conditional=_mean_time,
        condition=Data(EACH, "integer: the network takes integers; shape: and any shape", alias="conditions"),
        null=0.0,
        x_t=Data(_X, "shape", alias="t"),
    ),
    "guidance.branches": call(
        lambda prediction: guidance.branches(constant(Prediction(prediction, prediction)), EACH, 0.0)[0](_X, 0.5),
        prediction=Shaped(_X),
    ),
    "guidance.rule": call(
        then="x_t t", function=lambda p, x, t: p[0], denoisers=Shaped(_X, alias="prediction", of=lambda x0: [fixed(x0)])
    ),
    "guidance.interval": call(noise_min=0.5, noise_max=Number(2.0, "inf: no upper bound", low=0.5)),
    "guidance.temperature/each": call(tau=FLOATS),
    "guidance.composed": call(
        conditional=lambda x, t, observation: Prediction(x + observation, x),
        observations=Data(ones(2), "integer, shape, nan: read by the network"),
        prior=Shaped(_X, alias="prediction", of=_halved),
        method=Choice("sum"),
        x_t=Data(_X, alias="prediction"),
        t=0.5,
    ),
    "guidance.composed/covariances": call(
        conditional=lambda x, t, observation: Prediction(x + observation, x),
        observations=ones(2),
        prior=fixed(ones(2, 1)),
        method="gaussian",
        covariances=Data(ones(2, 1, 1), "integer"),
        prior_covariance=Data(2 * ones(1, 1), "integer"),
        x_t=ones(2, 1),
        t=0.5,
    ),
    "guidance.windowed": call(denoiser=_mean_time, x_t=Data(_X, "shape", alias="t"), hop=2),
    "guidance.windowed/prediction": call(denoiser=Shaped(ones(6, 2, 1), alias="prediction", of=fixed), x_t=_X, t=0.5),
    "guidance.log_product": call(
        lambda weight, x: guidance.log_product((weight, lambda x: -x), (1.0, lambda x: 0.0 * x))(x),
        weight=Number(2.0),
        x=_ANY,
    ),
    "guidance.log_product/shapes": call(
        lambda log_density: guidance.log_product((1.0, constant(log_density)), (1.0, lambda x: 0.0 * x))(EACH),
        log_density=FLOATS,
    ),
    "guidance.classifier_guided_log_density": call(
        then="x", log_density=lambda x: -x, log_likelihood=lambda x: 2.0 * x, x=_ANY
    ),
    "guidance.classifier_free_log_density": call(then="x", cond=lambda x: -x, uncond=lambda x: 2.0 * x, x=_ANY),
    "guidance.operators.adjoint": call(
        lambda like: guidance.operators.adjoint(lambda x: 2.0 * x, like)(like), like=Data(_SIGNAL, "shape")
    ),
    "guidance.operators.average_pool": call(x=Data(_SIGNAL, "shape")),
    "guidance.operators.blur": call(kernel=Data(ones(3), "integer")),
    "guidance.operators.clip": call(intact=Shaped(np.ones((2, 4, 3), bool))),
    "guidance.operators.grayscale": call(weights=Data(ones(3), "integer")),
    "guidance.operators.mask": call(keep=Shaped(np.ones((4, 3), bool))),
    "guidance.sequences.conditional_log_probs": call(log_prob=Data(_LOG, "integer; shape: one symbol more")),
    "guidance.sequences.joint_log_prob": call(logits=Data(_LOG[0], "integer", of=lambda logits: [logits, _LOG])),
    "guidance.windows.blend_windows": call(parts=Data(ones(4, 2, 3), "shape")),
    "guidance.windows.cut_windows": call(x=Data(_SIGNAL, "shape, integer")),
    "guidance.windows.windowed": call(denoiser=lambda x, t: Prediction(x, x), x_t=Data(_SIGNAL, "shape"), t=0.5),
    **{f"discrete.{name}": call(then="z_t t", z_t=_MASKED, t=0.5) for name in ("classifier_free", "rate_guidance")},
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
    "discrete.exact_denoiser": call(then="z_t t", log_prob=_LOGITS, t=0.5),
    "discrete.posterior": call(x0=np.array([[0, 1], [1, 0]]), s=0.1),
    "discrete.sample_prior": call(like=Classes(_X0, "negative, too large", num_classes=2)),
    "discrete.schedules.schedule_from_function": call(
        alpha=Data(np.linspace(1.0, 0.0, 17, dtype=np.float32), of=constant)
    ),
    **{
        f"discrete.{name}": call(where=_Where(np.ones((2, 2), bool)), **given)
        for name, given in {"perturb": {}, "token_loss": {}, "token_loss_at": {"times": Times(T, EACH)}}.items()
    },
    "discrete.variational_bound": call(denoiser=_TRACED, num_times=2),
}

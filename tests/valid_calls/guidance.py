"""Guidance, whose branches are constant, so that a row costs a few operations; operators, windows and sequences."""

import jax.numpy as jnp
import numpy as np

from scorekit import guidance
from scorekit.typing import Prediction
from valid_calls.common import EACH, ENDS, FLOW, constant, fixed
from valid_calls.kinds import Choice, Data, Number, Shaped, call

_X = np.ones((2, 4, 1), np.float32)
_SIGNAL = np.ones((2, 4, 3), np.float32)
_PREDICTION = Shaped(_X, alias="prediction", of=fixed)
_EACH = Data(EACH, "integer")
_ANY = Data(EACH, "empty; shape: the density takes any shape; integer: the density takes integers")
_LOG = np.log(np.full((2, 2), 0.25, np.float32))
_LOGITS = Data(_LOG, "integer")
_COND, _UNCOND = fixed(_X), fixed(0.5 * _X)
_AT = "x_t t"


def _mean_time(x, t, *condition):
    return Prediction(x + sum(c.reshape(-1, 1, 1) for c in condition), x + jnp.mean(t))


USUAL = {
    "cond": _PREDICTION,
    "denoiser": _PREDICTION,
    **dict.fromkeys(("uncond", "weak", "plain"), _UNCOND),
    "unwanted": _COND,
    "schedule": FLOW,
    "guidance_scale": 2.0,
    "negative_scale": 2.0,
    "tau": 0.5,
    "operator": lambda x: x,
    "observation": Data(_X),
    "x_t": Data(_X, alias="t"),
    "t": Data(np.array([0.25, 0.5], np.float32), ENDS),
    "x": Data(_SIGNAL),
    "size": 2,
    "hop": 1,
}
_RULES = (
    "classifier_free autoguidance negative apg cfg_zero_star frequency_decoupled static_threshold dynamic_threshold"
)
ROWS = {
    **{f"guidance.{name}": call(then=_AT) for name in f"{_RULES} rescale temperature".split()},
    **{f"guidance.{name}": call(then=_AT, iterations=1) for name in ("replacement", "pigdm", "mmps")},
    "guidance.classifier_free/each": call(then=_AT, guidance_scale=_EACH),
    "guidance.cfg_plus_plus": call(then=_AT, guidance_scale=0.5),
    "guidance.tangential": call(then=_AT, target=Choice("v")),
    "guidance.frequency_decoupled/factors": call(
        then=_AT, cond=_COND, x_t=_X, t=0.5, factors=Number(1.0, of=lambda factor: [factor])
    ),
    "guidance.compose": call(
        then=_AT, conditions=[_COND], weights=Number(2.0, of=lambda weight: [weight]), x_t=Data(_X), t=0.5
    ),
    "guidance.compose/each": call(
        then=_AT, conditions=[_COND], weights=Data(EACH, "integer", of=lambda weight: [weight]), x_t=_X, t=0.5
    ),
    "guidance.classifier_guidance": call(
        then=_AT, uncond=_COND, log_likelihood=Data(EACH, "integer", of=lambda each: lambda x, t: each * jnp.sum(x))
    ),
    "guidance.classifier_free_batched": call(
        then=_AT,
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
        then=_AT, function=lambda p, x, t: p[0], denoisers=Shaped(_X, alias="prediction", of=lambda x0: [fixed(x0)])
    ),
    "guidance.interval": call(then=_AT, noise_min=0.5, noise_max=Number(2.0, "inf: no upper bound", low=0.5)),
    "guidance.temperature/each": call(then=_AT, tau=_EACH),
    "guidance.windowed": call(then=_AT, denoiser=_mean_time, x_t=Data(_X, "shape", alias="t"), hop=2),
    "guidance.windowed/prediction": call(
        then=_AT, denoiser=Shaped(np.ones((6, 2, 1), np.float32), alias="prediction", of=fixed), x_t=_X, t=0.5
    ),
    "guidance.dps": call(then=_AT, noise_std=0.5),
    "guidance.log_product": call(
        lambda weight, x: guidance.log_product((weight, lambda x: -x), (1.0, lambda x: 0.0 * x))(x),
        weight=Number(2.0),
        x=_ANY,
    ),
    "guidance.log_product/shapes": call(
        lambda log_density: guidance.log_product((1.0, constant(log_density)), (1.0, lambda x: 0.0 * x))(EACH),
        log_density=_EACH,
    ),
    "guidance.classifier_guided_log_density": call(
        then="x", log_density=lambda x: -x, log_likelihood=lambda x: 2.0 * x, x=_ANY
    ),
    "guidance.classifier_free_log_density": call(then="x", cond=lambda x: -x, uncond=lambda x: 2.0 * x, x=_ANY),
    "guidance.operators.adjoint": call(
        lambda like: guidance.operators.adjoint(lambda x: 2.0 * x, like)(like), like=Data(_SIGNAL, "shape")
    ),
    "guidance.operators.average_pool": call(then="x", factor=2, x=Data(_SIGNAL, "shape")),
    "guidance.operators.blur": call(then="x", kernel=Data(np.ones(3, np.float32), "integer")),
    "guidance.operators.clip": call(then="x", level=1.0, intact=Shaped(np.ones((2, 4, 3), bool))),
    "guidance.operators.grayscale": call(then="x", weights=Data(np.ones(3, np.float32), "integer")),
    "guidance.operators.mask": call(then="x", keep=Shaped(np.ones((4, 3), bool))),
    "guidance.sequences.conditional_log_probs": call(log_prob=Data(_LOG, "integer; shape: one symbol more")),
    "guidance.sequences.guide_joint": call(cond=_LOGITS, uncond=_LOGITS),
    "guidance.sequences.guide_sequentially": call(cond=_LOGITS, uncond=_LOGITS),
    "guidance.sequences.joint_log_prob": call(logits=Data(_LOG[0], "integer", of=lambda logits: [logits, _LOG])),
    "guidance.sequences.total_variation": call(log_p=_LOGITS, log_q=_LOGITS),
    "guidance.windows.blend_windows": call(parts=Data(np.ones((4, 2, 3), np.float32), "shape"), count=2),
    "guidance.windows.cut_windows": call(x=Data(_SIGNAL, "shape, integer")),
    "guidance.windows.windowed": call(
        then=_AT, denoiser=lambda x, t: Prediction(x, x), x_t=Data(_SIGNAL, "shape"), t=0.5
    ),
}

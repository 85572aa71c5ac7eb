"""Guidance, whose branches are constant, so that a row costs a few operations; operators, windows and sequences."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import guidance, schedules
from scorekit.guidance import operators, sequences, windows
from scorekit.typing import Prediction
from valid_calls.kinds import Choice, Data, Number, Shaped, call

_FLOW = schedules.rectified_flow()
_X = np.ones((2, 4, 1), np.float32)
_EACH = np.ones(2, np.float32)
_STATE = Data(_X, alias="t")
_T = Data(np.array([0.25, 0.5], np.float32), "integer: 0 and 1 are times")
_EACH_SCALE = Data(_EACH, "integer")


def _fixed(x0):
    """A denoiser whose prediction is ``x0``, and NaN where the state or the time is."""

    def denoiser(x, t):
        zero = 0.0 * (jnp.sum(x) + jnp.sum(t))
        value = jax.tree.map(lambda leaf: leaf + zero, x0)
        return Prediction(value, value)

    return denoiser


_COND, _UNCOND = _fixed(_X), _fixed(0.5 * _X)


def _of_two(rule, *parts, **numbers):
    """A rule of two branches; ``parts`` come between the branches and the numbers."""

    def run(prediction, x_t, t, **numbers):
        return rule(_fixed(prediction), _UNCOND, *parts, **numbers)(x_t, t)

    return call(run, prediction=Shaped(_X), x_t=_STATE, t=_T, **numbers)


def _wrapped(rule, *parts, **numbers):
    def run(prediction, x_t, t, **numbers):
        return rule(_fixed(prediction), *parts, **numbers)(x_t, t)

    return call(run, prediction=Shaped(_X), x_t=_STATE, t=_T, **numbers)


def _inverse(rule, **numbers):
    """An inverse problem that observes the data themselves."""

    def run(prediction, x_t, t, observation, **numbers):
        return rule(_fixed(prediction), _FLOW, lambda x: x, observation, **numbers)(x_t, t)

    return call(run, prediction=Shaped(_X), x_t=_STATE, t=_T, observation=Data(_X), **numbers)


_SIGNAL = np.ones((2, 4, 3), np.float32)
_FEW = np.ones((4, 2, 3), np.float32)
_LOG = np.log(np.full((2, 2), 0.25, np.float32))
_WINDOWS = {"size": 2, "hop": 1}
USUAL = {
    "guidance_scale": 2.0,
    "t": _T,
    "x": Data(_SIGNAL),
    "x_t": _STATE,
    "prediction": Shaped(_X),
    "cond": Data(_LOG, "integer"),
    "uncond": Data(_LOG, "integer"),
}
ROWS = {
    "guidance.classifier_free": _of_two(guidance.classifier_free, guidance_scale=2.0),
    "guidance.classifier_free/each": _of_two(guidance.classifier_free, guidance_scale=_EACH_SCALE),
    "guidance.autoguidance": _of_two(guidance.autoguidance, guidance_scale=2.0),
    "guidance.cfg_plus_plus": _of_two(guidance.cfg_plus_plus, guidance_scale=0.5),
    "guidance.negative": _of_two(guidance.negative, _COND, guidance_scale=2.0, negative_scale=2.0),
    "guidance.apg": _of_two(guidance.apg, _FLOW, guidance_scale=2.0),
    "guidance.cfg_zero_star": _of_two(guidance.cfg_zero_star, _FLOW, guidance_scale=2.0),
    "guidance.tangential": _of_two(guidance.tangential, _FLOW, guidance_scale=2.0, target=Choice("v")),
    "guidance.frequency_decoupled": _of_two(guidance.frequency_decoupled, guidance_scale=2.0),
    "guidance.frequency_decoupled/factors": call(
        lambda factors: guidance.frequency_decoupled(_COND, _UNCOND, 2.0, [factors]), factors=Number(1.0)
    ),
    "guidance.compose": call(
        lambda x_t, weights: guidance.compose(_UNCOND, [_COND], [weights])(x_t, 0.5), x_t=Data(_X), weights=Number(2.0)
    ),
    "guidance.compose/each": call(
        lambda weights: guidance.compose(_UNCOND, [_COND], [weights])(_X, 0.5), weights=_EACH_SCALE
    ),
    "guidance.classifier_guidance": call(
        lambda log_likelihood, x_t, t, guidance_scale: guidance.classifier_guidance(
            _COND, lambda x, t: log_likelihood * jnp.sum(x), _FLOW, guidance_scale
        )(x_t, t),
        log_likelihood=_EACH_SCALE,
    ),
    "guidance.classifier_free_batched": call(
        lambda condition, x_t, t, guidance_scale: guidance.classifier_free_batched(
            lambda x, t, c: Prediction(x + c.reshape(-1, 1, 1), x + jnp.mean(t)), condition, 0.0, guidance_scale
        )(x_t, t),
        condition=Data(_EACH, "integer: the network takes integers; shape: and any shape", alias="conditions"),
        x_t=Data(_X, "shape", alias="t"),
    ),
    "guidance.branches": call(
        lambda prediction: guidance.branches(lambda x, t, c: Prediction(prediction, prediction), _EACH, 0.0)[0](_X, 0.5)
    ),
    "guidance.rule": call(lambda prediction, x_t, t: guidance.rule(lambda p, x, t: p[0], [_fixed(prediction)])(x_t, t)),
    "guidance.interval": call(
        lambda prediction, x_t, t, noise_min, noise_max: guidance.interval(
            _fixed(prediction), _UNCOND, _FLOW, noise_min, noise_max
        )(x_t, t),
        noise_min=0.5,
        noise_max=Number(2.0, "inf: no upper bound", low=0.5),
    ),
    "guidance.static_threshold": _wrapped(guidance.static_threshold, _FLOW, limit=1.0),
    "guidance.dynamic_threshold": _wrapped(guidance.dynamic_threshold, _FLOW, percentile=0.9, limit=1.0),
    "guidance.rescale": _wrapped(guidance.rescale, _UNCOND, _FLOW, factor=0.7),
    "guidance.temperature": _wrapped(guidance.temperature, _FLOW, tau=0.5),
    "guidance.temperature/each": _wrapped(guidance.temperature, _FLOW, tau=_EACH_SCALE),
    "guidance.windowed": call(
        lambda x_t, t, size, hop: guidance.windowed(lambda x, t: Prediction(x, x + jnp.mean(t)), size, hop)(x_t, t),
        x_t=Data(_X, "shape", alias="t"),
        size=2,
        hop=2,
    ),
    "guidance.windowed/prediction": call(
        lambda prediction: guidance.windowed(_fixed(prediction), 2, 1)(_X, 0.5),
        prediction=Shaped(np.ones((6, 2, 1), np.float32)),
    ),
    "guidance.replacement": _inverse(guidance.replacement, iterations=1),
    "guidance.pigdm": _inverse(guidance.pigdm, iterations=1),
    "guidance.mmps": _inverse(guidance.mmps, iterations=1),
    "guidance.dps": _inverse(guidance.dps, noise_std=0.5),
    "guidance.log_product": call(
        lambda weight, x: guidance.log_product((weight, lambda x: -x), (1.0, lambda x: 0.0 * x))(x),
        weight=Number(2.0),
        x=Data(_EACH, "empty; shape: the density takes any shape; integer: the density takes integers"),
    ),
    "guidance.log_product/shapes": call(
        lambda log_density: guidance.log_product((1.0, lambda x: log_density), (1.0, lambda x: 0.0 * x))(_EACH),
        log_density=Data(_EACH, "integer"),
    ),
    "guidance.classifier_guided_log_density": call(
        lambda guidance_scale, x: guidance.classifier_guided_log_density(
            lambda x: -x, lambda x: 2.0 * x, guidance_scale
        )(x),
        x=Data(_EACH, "empty; shape: the density takes any shape; integer: the density takes integers"),
    ),
    "guidance.classifier_free_log_density": call(
        lambda guidance_scale, x: guidance.classifier_free_log_density(lambda x: -x, lambda x: 2.0 * x, guidance_scale)(
            x
        ),
        x=Data(_EACH, "empty; shape: the density takes any shape; integer: the density takes integers"),
    ),
    "guidance.operators.adjoint": call(
        lambda like: operators.adjoint(lambda x: 2.0 * x, like)(like), like=Data(_SIGNAL, "shape")
    ),
    "guidance.operators.average_pool": call(
        lambda factor, x: operators.average_pool(factor)(x), factor=2, x=Data(_SIGNAL, "shape")
    ),
    "guidance.operators.blur": call(
        lambda kernel, edge, x: operators.blur(kernel, edge)(x),
        kernel=Data(np.ones(3, np.float32), "integer"),
        edge="edge",
    ),
    "guidance.operators.clip": call(
        lambda level, intact, x: operators.clip(level, intact)(x), level=1.0, intact=Shaped(np.ones((2, 4, 3), bool))
    ),
    "guidance.operators.grayscale": call(
        lambda weights, x: operators.grayscale(weights)(x), weights=Data(np.ones(3, np.float32), "integer")
    ),
    "guidance.operators.mask": call(lambda keep, x: operators.mask(keep)(x), keep=Shaped(np.ones((4, 3), bool))),
    "guidance.sequences.conditional_log_probs": call(log_prob=Data(_LOG, "integer; shape: one symbol more")),
    "guidance.sequences.guide_joint": call(),
    "guidance.sequences.guide_sequentially": call(),
    "guidance.sequences.joint_log_prob": call(
        lambda logits: sequences.joint_log_prob([logits, _LOG]), logits=Data(_LOG[0], "integer")
    ),
    "guidance.sequences.total_variation": call(log_p=Data(_LOG, "integer"), log_q=Data(_LOG, "integer")),
    "guidance.windows.blend_windows": call(parts=Data(_FEW, "shape"), count=2, hop=1),
    "guidance.windows.cut_windows": call(x=Data(_SIGNAL, "shape, integer"), **_WINDOWS),
    "guidance.windows.num_windows": call(length=4, **_WINDOWS),
    "guidance.windows.windowed": call(
        lambda size, hop, x_t: windows.windowed(lambda x, t: Prediction(x, x), size, hop)(x_t, 0.5),
        x_t=Data(_SIGNAL, "shape"),
        **_WINDOWS,
    ),
}

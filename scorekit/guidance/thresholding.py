"""Thresholding and rescaling: keep the clean estimate within the range, or at the contrast, of the data.

The noise is recomputed so that ``alpha x0 + sigma eps`` remains ``x_t`` (Saharia et al. 2022,
https://arxiv.org/abs/2205.11487).
"""

import jax
import jax.numpy as jnp

from scorekit.arguments import Fraction, Positive, PositiveFraction
from scorekit.guidance.rules import guidance_rule, rule
from scorekit.numerics import sqrt, wide
from scorekit.predictions import with_x0
from scorekit.trees import combine, expand
from scorekit.typing import Denoiser, Number, Schedule


def _static(predictions, x_t, t, schedule, limit):
    (prediction,) = predictions
    x0 = jax.tree.map(lambda x: jnp.clip(x, -limit, limit).astype(x.dtype), prediction.x0)
    return with_x0(schedule, prediction, x0, t)


@guidance_rule(unguided_at_one=False)
def static_threshold(denoiser: Denoiser, schedule: Schedule, limit: Positive[Number] = 1.0) -> Denoiser:
    """Clips x0 to ``[-limit, limit]``: ``x0' = min(max(x0, -limit), limit)``.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, whose x0 is clipped.
      schedule: the noise schedule, which keeps ``alpha x0 + sigma eps`` at ``x_t``.
      limit: largest absolute value, in units of the data.

    >>> from scorekit.denoisers import denoiser_from_network
    >>> from scorekit.schedules import RectifiedFlow
    >>> three = denoiser_from_network(lambda x, t: 3.0 * x, RectifiedFlow(), "x0")
    >>> static_threshold(three, RectifiedFlow())(jnp.array([[-1.0, 0.5]]), 0.5).x0
    Array([[-1.,  1.]], dtype=float32)
    """
    return rule(_static, (denoiser,), schedule, limit)


def _dynamic(predictions, x_t, t, schedule, percentile, limit):
    (prediction,) = predictions

    def clip(x):
        magnitude = jnp.abs(x.reshape(x.shape[0], -1)).astype(jnp.promote_types(x.dtype, jnp.float32))
        bound = expand(jnp.maximum(jnp.quantile(magnitude, percentile, axis=1), limit), x)
        return (jnp.clip(x, -bound, bound) * (limit / bound)).astype(x.dtype)

    return with_x0(schedule, prediction, jax.tree.map(clip, prediction.x0), t)


@guidance_rule(unguided_at_one=False)
def dynamic_threshold(
    denoiser: Denoiser,
    schedule: Schedule,
    percentile: PositiveFraction[Number] = 0.995,
    limit: Positive[Number] = 1.0,
) -> Denoiser:
    """Dynamic thresholding: clips x0 at a percentile q of its magnitudes and rescales it by ``limit / q``.

    Per example, and only where q exceeds ``limit``.

    Args:
      denoiser: the denoiser to wrap; its leaves have a leading batch axis, and each leaf has its own percentile.
      schedule: the noise schedule, which keeps ``alpha x0 + sigma eps`` at ``x_t``.
      percentile: fraction of the magnitudes that are not clipped.
      limit: the range of the data.

    >>> from scorekit.denoisers import denoiser_from_network
    >>> from scorekit.schedules import RectifiedFlow
    >>> three = denoiser_from_network(lambda x, t: 3.0 * x, RectifiedFlow(), "x0")
    >>> dynamic_threshold(three, RectifiedFlow(), percentile=1.0)(jnp.array([[-1.0, 0.5]]), 0.5).x0
    Array([[-1. ,  0.5]], dtype=float32)
    """
    return rule(_dynamic, (denoiser,), schedule, percentile, limit)


def _rescaled(predictions, x_t, t, schedule, factor):
    guided, unguided = predictions

    def std(x):
        return sqrt(jnp.var(wide(x.reshape(x.shape[0], -1)), axis=1))

    def rescaled(g, p):
        gain = jnp.where(std(g) > 0, std(p) / jnp.where(std(g) > 0, std(g), 1.0), 1.0)
        return combine((1.0 + factor * (gain - 1.0), g))

    return with_x0(schedule, guided, jax.tree.map(rescaled, guided.x0, unguided.x0), t)


@guidance_rule()
def rescale(denoiser: Denoiser, unguided: Denoiser, schedule: Schedule, factor: Fraction[Number] = 0.7) -> Denoiser:
    """Rescales x0 towards the standard deviation of the estimate without guidance, against overexposure.

    ``x0 <- phi x0 std(x0_unguided) / std(x0) + (1 - phi) x0``, with the standard deviation over all values of an
    example, for each array of a tree. The mean is scaled as well: data should be centred at 0.

    Args:
      denoiser: the guided denoiser to rescale.
      unguided: the denoiser without guidance, normally the conditional one. If ``denoiser`` was built from it, it is
        not evaluated again.
      schedule: the noise schedule, which keeps ``alpha x0 + sigma eps`` at ``x_t``.
      factor: phi; 0 changes nothing.

    >>> from scorekit.denoisers import denoiser_from_network
    >>> from scorekit.schedules import RectifiedFlow
    >>> three, one = (denoiser_from_network(lambda x, t, c=c: c * x, RectifiedFlow(), "x0") for c in (3.0, 1.0))
    >>> rescale(three, one, RectifiedFlow(), 1.0)(jnp.array([[-1.0, 0.5]]), 0.5).x0.round(4)
    Array([[-1. ,  0.5]], dtype=float32)

    Source: Lin et al. 2023, sec. 3.4 (https://arxiv.org/abs/2305.08891), here on x0.
    """
    return rule(_rescaled, (denoiser, unguided), schedule, factor)

"""Thresholding: keeps the clean estimate in the range of the data under strong guidance.

The noise half is recomputed so that ``alpha x0 + sigma eps`` still is ``x_t`` (Saharia et al. 2022, sec. 2.3,
https://arxiv.org/abs/2205.11487).
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.denoisers import as_pytree
from scorekit.predictions import with_x0
from scorekit.trees import check, check_positive, expand
from scorekit.typing import Denoiser, Number, Schedule


def _static(denoiser, schedule, limit, x_t, t):
    prediction = denoiser(x_t, t)
    x0 = jax.tree.map(lambda x: jnp.clip(x, -limit, limit).astype(x.dtype), prediction.x0)
    return with_x0(prediction, x0, t, schedule)


def static_threshold(denoiser: Denoiser, schedule: Schedule, limit: Number = 1.0) -> Denoiser:
    """Clips x0 to ``[-limit, limit]``.

    Args:
      denoiser: the denoiser to wrap.
      schedule: its schedule.
      limit: > 0, in units of the data.

    Raises:
      ValueError: if ``limit`` is not positive.

    >>> from scorekit.denoisers import denoiser_from_network
    >>> from scorekit.schedules import rectified_flow
    >>> d = denoiser_from_network(lambda x, t: 3 * x, rectified_flow(), "x0")
    >>> static_threshold(d, rectified_flow())(jnp.ones(1), 0.5).x0
    Array([1.], dtype=float32)
    """
    check_positive(limit=limit)
    return Partial(_static, as_pytree(denoiser), schedule, limit)


def _dynamic(denoiser, schedule, percentile, limit, x_t, t):
    prediction = denoiser(x_t, t)

    def clip(x):
        magnitude = jnp.abs(x.reshape(x.shape[0], -1)).astype(jnp.promote_types(x.dtype, jnp.float32))
        bound = expand(jnp.maximum(jnp.quantile(magnitude, percentile, axis=1), limit), x)
        return (jnp.clip(x, -bound, bound) * (limit / bound)).astype(x.dtype)

    return with_x0(prediction, jax.tree.map(clip, prediction.x0), t, schedule)


def dynamic_threshold(
    denoiser: Denoiser,
    schedule: Schedule,
    percentile: Number = 0.995,
    limit: Number = 1.0,
) -> Denoiser:
    """Per example, clips x0 at a percentile q of its magnitudes, if that exceeds ``limit``, and rescales by limit / q.

    Args:
      denoiser: the denoiser to wrap; its leaves have a leading batch axis, and each leaf has its own percentile.
      schedule: its schedule.
      percentile: fraction in (0, 1].
      limit: the range of the data, > 0.

    Raises:
      ValueError: for a value outside its range.

    >>> from scorekit.denoisers import denoiser_from_network
    >>> from scorekit.schedules import rectified_flow
    >>> d = denoiser_from_network(lambda x, t: 4 * x, rectified_flow(), "x0")
    >>> dynamic_threshold(d, rectified_flow(), percentile=1.0)(jnp.array([[1.0, 0.5]]), 0.5).x0
    Array([[1. , 0.5]], dtype=float32)

    Source: Saharia et al. 2022, fig. A.10b (https://arxiv.org/abs/2205.11487).
    """
    check(lambda x: (x > 0) & (x <= 1), "in (0, 1]", percentile=percentile)
    check_positive(limit=limit)
    return Partial(_dynamic, as_pytree(denoiser), schedule, percentile, limit)

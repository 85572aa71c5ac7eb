"""The peak signal-to-noise ratio."""

import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.checks import check_finite, nan_unless_finite
from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike


@checked
def psnr(x: ArrayLike, truth: ArrayLike, data_range: Positive[float] = 2.0) -> Array:
    """``10 log10(data_range^2 / MSE)`` in dB, averaged over examples.

    Mean squared errors below ``data_range^2 / 4e12`` are raised to it: 126 dB is the largest value.

    Args:
      x: estimates ``(B, ...)``, not empty; integers count as floats.
      truth: references of the same shape.
      data_range: largest value minus smallest; 2 for data.

    >>> print(psnr(jnp.zeros((1, 2)), jnp.full((1, 2), 0.2)).round(3))
    20.0
    """
    x, truth = (jnp.asarray(a) for a in (x, truth))
    x, truth = (wide(a) for a in (x, truth))
    if x.shape != truth.shape or x.ndim < 1 or not x.size:
        raise ValueError(f"x and truth must be (B, ...) of one shape, not empty, got {x.shape} and {truth.shape}")
    check_finite(x=x, truth=truth)
    error = jnp.mean(jnp.square((x - truth).reshape(x.shape[0], -1)), axis=1)
    share = jnp.maximum(error / data_range**2, 0.25e-12)
    return nan_unless_finite(jnp.mean(-10.0 * jnp.log10(share)), x, truth)

"""The peak signal-to-noise ratio."""

import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike


def psnr(x: ArrayLike, truth: ArrayLike, data_range: float = 2.0) -> Array:
    """``10 log10(data_range^2 / MSE)`` in dB, averaged over examples.

    Args:
      x: estimates ``(B, ...)``.
      truth: references of the same shape.
      data_range: largest value minus smallest; 2 for data in [-1, 1].

    Returns:
      A scalar. Mean squared errors below ``data_range^2 / 4e12`` are raised to it: 126 dB is the largest value.

    Raises:
      ValueError: if the shapes differ or ``data_range`` is not positive.

    >>> print(psnr(jnp.zeros((1, 2)), jnp.full((1, 2), 0.2)).round(3))
    20.0
    """
    x, truth = jnp.asarray(x), jnp.asarray(truth)
    if x.shape != truth.shape or x.ndim < 1:
        raise ValueError(f"x and truth must be (B, ...) of one shape, got {x.shape} and {truth.shape}")
    if not data_range > 0:
        raise ValueError(f"data_range must be > 0, got {data_range}")
    error = jnp.mean(jnp.square((x - truth).reshape(x.shape[0], -1)), axis=1)
    share = jnp.maximum(error / data_range**2, 0.25e-12)
    return jnp.mean(-10.0 * jnp.log10(share))

"""Checks of statistics."""

import jax.numpy as jnp

from scorekit.checks import check_finite
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike


def check_statistics(name: str, values: ArrayLike, least: int, size: int | None = None) -> Array:
    """Finite statistics as an array of floats ``(N, F)``; a traced row with another value is all NaN.

    >>> check_statistics("statistics", [[1, 2]], 1)
    Array([[1., 2.]], dtype=float32)
    """
    values = jnp.asarray(values, float)
    if values.ndim != 2 or values.shape[0] < least or values.shape[1] < 1:
        raise ValueError(f"{name} must have shape (N, F) with N >= {least} and F >= 1, got {values.shape}")
    if size is not None and values.shape[1] != size:
        raise ValueError(f"{name} must have shape (N, {size}), as the calibration data, got {values.shape}")
    check_finite(**{name: values})
    if is_traced(values):
        values = jnp.where(jnp.all(jnp.isfinite(values), axis=1, keepdims=True), values, jnp.nan)
    return values

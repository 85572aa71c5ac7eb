"""Discrete data: integers ``0..bins-1`` to floats in [-1, 1] and back.

Two scalings are in use. :func:`to_unit` maps the smallest value to -1 and the largest to +1: the scale of samples.
:func:`dequantise` maps each value to a bin of width ``2 / bins`` and adds uniform noise within it, so that a density on
[-1, 1] bounds the probability of the integers (:func:`scorekit.likelihood.bits_per_dim`). The centre of the bin of
``x`` is ``to_unit(x) * (bins - 1) / bins``.
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from scorekit.arguments import Count, checked
from scorekit.checks import check_classes, check_not_nan
from scorekit.typing import Array, ArrayLike, Key

__all__ = ["dequantise", "from_unit", "to_unit"]


@checked
def to_unit(x: ArrayLike, bins: Annotated[int, Count(2)]) -> Array:
    """Integers to floats: ``2 x / (bins - 1) - 1``.

    Args:
      x: integers in ``0..bins-1``, any shape.
      bins: number of values.

    Returns:
      float32 in [-1, 1]; 0 goes to -1 and ``bins - 1`` to +1, a traced integer out of range to NaN.

    >>> to_unit(jnp.array([0, 8, 16]), 17)
    Array([-1.,  0.,  1.], dtype=float32)
    """
    return 2.0 * _check_integers(x, bins) / (bins - 1) - 1.0


@checked
def from_unit(x: ArrayLike, bins: Annotated[int, Count(2)]) -> Array:
    """Floats to the nearest integers, the inverse of :func:`to_unit`.

    Args:
      x: floats, any shape; values outside [-1, 1] are clipped.
      bins: number of values.

    Returns:
      int32 in ``0..bins-1``. No integer stands for NaN: a traced NaN becomes the integer of 0.0.

    >>> from_unit(jnp.array([-1.3, 0.01, 1.0]), 17)
    Array([ 0,  8, 16], dtype=int32)
    """
    check_not_nan(x=x)
    x = jnp.clip(jnp.nan_to_num(jnp.asarray(x, jnp.float32), posinf=1.0, neginf=-1.0), -1.0, 1.0)
    return jnp.round((x + 1.0) * (bins - 1) / 2.0).astype(jnp.int32)


@checked
def dequantise(key: Key, x: ArrayLike, bins: Annotated[int, Count(2)]) -> Array:
    """Uniform dequantisation: ``2 (x + u) / bins - 1`` with u uniform on [0, 1).

    Args:
      key: PRNG key.
      x: integers in ``0..bins-1``, any shape.
      bins: number of values.

    Returns:
      float32 in [-1, 1]; NaN for a traced integer out of range.

    >>> float(dequantise(jax.random.key(0), jnp.array(1), 2)) >= 0.0
    True

    Source: Theis, van den Oord and Bethge, A note on the evaluation of generative models (2016).
    """
    x = _check_integers(x, bins)
    return 2.0 * (x + jax.random.uniform(key, x.shape, jnp.float32)) / bins - 1.0


def _check_integers(x: ArrayLike, bins: int) -> Array:
    """Integers ``x`` as floats; NaN for traced ones that are not in ``0..bins-1``."""
    dtype = jnp.result_type(x)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"x must be of an integer type, values 0..bins-1, got {dtype}")
    if jnp.iinfo(dtype).min == 0 and jnp.iinfo(dtype).max < bins:  # every value is allowed
        return jnp.asarray(x, jnp.float32)
    check_classes(bins, x=x)
    x = jnp.asarray(x)
    return jnp.where((x >= 0) & (x < bins), x.astype(jnp.float32), jnp.nan)

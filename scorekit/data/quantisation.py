"""Pixels between integers ``0..levels-1`` and floats in [-1, 1].

Two scalings are in use. :func:`to_unit` puts the lowest level at -1 and the highest at +1: what samples are drawn
in. :func:`dequantise` gives each level a bin of width ``2 / levels`` and spreads its values evenly over it, so that a
density on [-1, 1] bounds the probability of the integers (:func:`scorekit.likelihood.bits_per_dim`). The bin of level
``x`` is centred at ``to_unit(x) * (levels - 1) / levels``.
"""

import jax
import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike, Key


def to_unit(x: ArrayLike, levels: int) -> Array:
    """Integers to floats: ``2 x / (levels - 1) - 1``.

    Args:
      x: integers in ``0..levels-1``, any shape.
      levels: the number of values.

    Returns:
      float32 in [-1, 1]; 0 goes to -1 and ``levels - 1`` to +1.

    Raises:
      ValueError: if ``x`` is not of an integer type or ``levels < 2``.

    >>> to_unit(jnp.array([0, 8, 16]), 17)
    Array([-1.,  0.,  1.], dtype=float32)
    """
    return 2.0 * _check_integers(x, levels) / (levels - 1) - 1.0


def from_unit(x: ArrayLike, levels: int) -> Array:
    """Floats to the nearest integers, the inverse of :func:`to_unit`.

    Args:
      x: floats, any shape; what lies outside [-1, 1] is clipped.
      levels: the number of values.

    Returns:
      int32 in ``0..levels-1``.

    Raises:
      ValueError: if ``levels < 2``.

    >>> from_unit(jnp.array([-1.3, 0.01, 1.0]), 17)
    Array([ 0,  8, 16], dtype=int32)
    """
    _check_levels(levels)
    x = jnp.clip(jnp.asarray(x, jnp.float32), -1.0, 1.0)
    return jnp.round((x + 1.0) * (levels - 1) / 2.0).astype(jnp.int32)


def dequantise(key: Key, x: ArrayLike, levels: int) -> Array:
    """Uniform dequantisation: ``2 (x + u) / levels - 1`` with u uniform on [0, 1).

    Args:
      key: PRNG key.
      x: integers in ``0..levels-1``, any shape.
      levels: the number of values.

    Returns:
      float32 in [-1, 1].

    Raises:
      ValueError: if ``x`` is not of an integer type or ``levels < 2``.

    >>> float(dequantise(jax.random.key(0), jnp.array(1), 2)) >= 0.0
    True
    """
    x = _check_integers(x, levels)
    return 2.0 * (x + jax.random.uniform(key, x.shape, jnp.float32)) / levels - 1.0


def _check_levels(levels: int) -> None:
    if levels < 2:
        raise ValueError(f"levels must be an integer >= 2, got {levels}")


def _check_integers(x: ArrayLike, levels: int) -> Array:
    """Integers ``x`` as floats."""
    _check_levels(levels)
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(f"x must be of an integer type, values 0..levels-1, got {x.dtype}")
    return x.astype(jnp.float32)

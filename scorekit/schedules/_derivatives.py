"""Time derivatives of elementwise functions of t, by forward-mode differentiation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.schedules._numerics import as_time
from scorekit.typing import Array, ArrayLike


def clip_to_interior(t: ArrayLike) -> Array:
    """``t`` clipped to the interior of [0, 1] by a few rounding errors: at the ends a derivative may be infinite."""
    t = as_time(t)
    return jnp.clip(t, 1e-15, 1.0 - 32 * jnp.finfo(t.dtype).epsneg)


def time_derivative(fn: Callable[[Array], Array], t: ArrayLike) -> Array:
    """``d fn / dt`` for an elementwise ``fn``, shaped like ``t``.

    Args:
      fn: an elementwise function of the time.
      t: times of any shape.

    Returns:
      The derivative.

    >>> time_derivative(lambda t: t**2, 3.0)
    Array(6., dtype=float32)
    """
    t = as_time(t)
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]

"""Time derivatives of elementwise functions of t, by forward-mode differentiation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.schedules.numerics import as_time
from scorekit.typing import Array, ArrayLike


def inside(t: ArrayLike) -> Array:
    """``t`` moved a few rounding errors inside (0, 1): at the ends themselves a rate may be infinite.

    >>> float(inside(1.0)) < 1.0
    True
    """
    t = as_time(t)
    return jnp.clip(t, 1e-15, 1.0 - 32 * jnp.finfo(t.dtype).epsneg)


def time_derivative(fn: Callable[[Array], Array], t: ArrayLike) -> Array:
    """``d fn / dt`` for an elementwise ``fn``, shaped like ``t``.

    >>> time_derivative(lambda t: t**2, 3.0)
    Array(6., dtype=float32)
    """
    t = as_time(t)
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]

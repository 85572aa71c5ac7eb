"""Time derivatives of elementwise functions of t, by forward-mode differentiation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike


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
    t = wide(t)
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]

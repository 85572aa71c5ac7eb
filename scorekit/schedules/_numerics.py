"""Numerical helpers that keep schedules exact and differentiable at both ends of [0, 1]."""

from collections.abc import Callable

import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike


def as_time(t: ArrayLike) -> Array:
    """``t`` as an array of at least float32, whatever the precision of the state."""
    t = jnp.asarray(t)
    return t.astype(jnp.promote_types(t.dtype, jnp.float32))


def sqrt(x: Array) -> Array:
    """Square root whose gradient at 0 is 0 instead of infinite, so that the end points are differentiable."""
    zero = x <= 0  # NaN is not zero
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def between_ends(log_snr: Callable[[Array], Array], t: Array) -> Array:
    """``log_snr(t)`` of a schedule that is infinite at both ends, where its gradient is 0 instead of NaN."""
    outside = (t <= 0) | (t >= 1)  # NaN is not
    return jnp.where(outside, jnp.where(t > 0, -jnp.inf, jnp.inf), log_snr(jnp.where(outside, 0.5, t)))

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
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def between_ends(log_snr: Callable[[Array], Array], t: Array) -> Array:
    """``log_snr(t)`` of a schedule that is infinite at both ends, where its gradient is 0 instead of NaN."""
    inside = (t > 0) & (t < 1)
    return jnp.where(inside, log_snr(jnp.where(inside, t, 0.5)), jnp.where(t > 0, -jnp.inf, jnp.inf))

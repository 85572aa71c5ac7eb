"""Numerical helpers of the other packages: functions that stay exact, finite and differentiable at the ends of their
ranges; in its modules loops on meshes, codes, grids, coordinates, and the adaptive solution of ordinary differential
equations.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp

from scorekit.arguments import Positive
from scorekit.trees import combine, event_size, sum_per_example
from scorekit.typing import Array, ArrayLike, Numbers, PyTree


def wide(x: ArrayLike) -> Array:
    """``x`` as an array of at least float32: times, and sums over states of any precision."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def clip_to_interior(t: ArrayLike) -> Array:
    """``t`` clipped to the interior of [0, 1] by a few rounding errors: at the ends a derivative may be infinite.

    >>> float(clip_to_interior(1.0)) < 1.0
    True
    """
    t = wide(t)
    return jnp.clip(t, 1e-15, 1.0 - 32 * jnp.finfo(t.dtype).epsneg)


def sqrt(x: Array) -> Array:
    """Square root whose gradient at 0 is 0 instead of infinite, so that the end points are differentiable."""
    zero = x <= 0  # NaN is not zero
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def sqrt_one_minus_square(base: Array) -> Array:
    """``sqrt(1 - base^2)`` with a finite gradient at 1."""
    return sqrt((1.0 - base) * (1.0 + base))


def between_ends(log_snr: Callable[[Array], Array], t: Array) -> Array:
    """``log_snr(t)`` of a schedule that is infinite at both ends, where its gradient is 0 instead of NaN."""
    outside = (t <= 0) | (t >= 1)  # NaN is not
    return jnp.where(outside, jnp.where(t > 0, -jnp.inf, jnp.inf), log_snr(jnp.where(outside, 0.5, t)))


def log_normal(x: PyTree, std: Array) -> Array:
    """``log N(x; 0, std^2)`` of each example, summed over its values, ``(B,)``."""
    squares = sum_per_example(jnp.square, combine((1.0 / std, x)))
    return -0.5 * squares - event_size(x) * (jnp.log(std) + 0.5 * math.log(2 * math.pi))


def log_ratio(log_c: Array, log_u: Array) -> Array:
    """``log_c - log_u``, and ``log_c`` where ``log_u`` is the logarithm of 0."""
    return log_c - jnp.where(jnp.isfinite(log_u), log_u, 0.0)


def tilt(log_p: Array, ratio: Array, scale: Array) -> Array:
    """``log_p + scale ratio``, not normalised; a probability of 0 stays 0, and a scale of 0 ignores the ratio."""
    possible = jnp.isfinite(log_p) & (scale != 0)
    return log_p + jnp.where(possible, scale * jnp.where(possible, ratio, 0.0), 0.0)


def band_fractions(power: Positive[Numbers], count: Positive[Numbers] | None) -> tuple[Array, Array]:
    """The validated log-powers of a band and the fraction of its coefficients with each power; both ``(K,)``."""
    powers = jnp.atleast_1d(jnp.asarray(power, float))
    counts = jnp.ones(powers.shape) if count is None else jnp.atleast_1d(jnp.asarray(count, float))
    if powers.ndim != 1 or counts.shape != powers.shape:
        raise ValueError(f"power and count must share a shape (K,), got {powers.shape} and {counts.shape}")
    if powers.size == 0:
        raise ValueError("power must hold at least one value, got none")
    return jnp.log(powers), counts / jnp.sum(counts)

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
    """``x`` as an array of at least float32: times, and sums over states of any precision.

    Args:
      x: an array of any shape, or a number.

    >>> wide(jnp.ones(2, jnp.bfloat16)).dtype, wide(1).dtype
    (dtype('float32'), dtype('float32'))
    """
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def clip_to_interior(t: ArrayLike) -> Array:
    """``t`` clipped to the interior of [0, 1] by a few rounding errors: at the ends a derivative may be infinite.

    Args:
      t: times in [0, 1], any shape.

    >>> float(clip_to_interior(1.0)) < 1.0
    True
    """
    t = wide(t)
    return jnp.clip(t, 1e-15, 1.0 - 32 * jnp.finfo(t.dtype).epsneg)


def sqrt(x: Array) -> Array:
    """Square root whose gradient at 0 is 0 instead of infinite, so that the end points are differentiable.

    Args:
      x: numbers, any shape; the root of a negative one is 0.

    >>> import jax
    >>> float(jax.grad(sqrt)(0.0))
    0.0
    """
    zero = x <= 0  # NaN is not zero
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def sqrt_one_minus_square(base: Array) -> Array:
    """``sqrt(1 - base^2)`` with a finite gradient at 1.

    Args:
      base: numbers in [-1, 1], any shape.

    >>> round(float(sqrt_one_minus_square(0.6)), 6)
    0.8
    """
    return sqrt((1.0 - base) * (1.0 + base))


def between_ends(log_snr: Callable[[Array], Array], t: Array) -> Array:
    """``log_snr(t)`` of a schedule that is infinite at both ends, where its gradient is 0 instead of NaN.

    Args:
      log_snr: the log-SNR in nats as a function of times inside (0, 1).
      t: times in [0, 1], any shape.

    >>> between_ends(lambda t: -jnp.log(t), jnp.array([0.0, 1.0])).tolist()
    [inf, -inf]
    """
    outside = (t <= 0) | (t >= 1)  # NaN is not
    return jnp.where(outside, jnp.where(t > 0, -jnp.inf, jnp.inf), log_snr(jnp.where(outside, 0.5, t)))


def log_normal(x: PyTree, std: Array) -> Array:
    """``log N(x; 0, std^2)`` of each example, summed over its values, ``(B,)``.

    Args:
      x: leaves ``(B, ...)``.
      std: standard deviation in the units of x, a scalar or ``(B,)``.

    >>> f"{log_normal(jnp.zeros((1, 1)), jnp.array(1.0))[0]:.4f}"
    '-0.9189'
    """
    squares = sum_per_example(jnp.square, combine((1.0 / std, x)))
    return -0.5 * squares - event_size(x) * (jnp.log(std) + 0.5 * math.log(2 * math.pi))


def log_ratio(log_c: Array, log_u: Array) -> Array:
    """``log_c - log_u``, and ``log_c`` where ``log_u`` is the logarithm of 0.

    Args:
      log_c: log-probabilities, any shape.
      log_u: log-probabilities of the same shape.

    >>> log_ratio(jnp.array([-1.0, -1.0]), jnp.array([-3.0, -jnp.inf])).tolist()
    [2.0, -1.0]
    """
    return log_c - jnp.where(jnp.isfinite(log_u), log_u, 0.0)


def tilt(log_p: Array, ratio: Array, scale: Array) -> Array:
    """``log_p + scale ratio``, not normalised; a probability of 0 stays 0, and a scale of 0 ignores the ratio.

    Args:
      log_p: log-probabilities, any shape.
      ratio: what they are tilted by, in nats, the same shape.
      scale: weight of the ratio, a scalar or a shape that broadcasts.

    >>> tilt(jnp.array([-1.0, -jnp.inf]), jnp.array([0.5, jnp.inf]), jnp.array(2.0)).tolist()
    [0.0, -inf]
    """
    possible = jnp.isfinite(log_p) & (scale != 0)
    return log_p + jnp.where(possible, scale * jnp.where(possible, ratio, 0.0), 0.0)


def band_fractions(power: Positive[Numbers], count: Positive[Numbers] | None) -> tuple[Array, Array]:
    """The validated log-powers of a band and the fraction of its coefficients with each power; both ``(K,)``.

    Args:
      power: powers of the frequencies of the band, a number or ``(K,)``.
      count: number of coefficients with each power, shaped like it; None is the same for all.

    >>> [x.tolist() for x in band_fractions([1.0, 1.0], [1.0, 3.0])]
    [[0.0, 0.0], [0.25, 0.75]]
    """
    powers = jnp.atleast_1d(jnp.asarray(power, float))
    counts = jnp.ones(powers.shape) if count is None else jnp.atleast_1d(jnp.asarray(count, float))
    if powers.ndim != 1 or counts.shape != powers.shape:
        raise ValueError(f"power and count must share a shape (K,), got {powers.shape} and {counts.shape}")
    if powers.size == 0:
        raise ValueError("power must hold at least one value, got none")
    return jnp.log(powers), counts / jnp.sum(counts)

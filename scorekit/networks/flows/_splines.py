"""Monotone rational-quadratic splines: the scalar bijections of couplings and autoregressive flows."""

import math

import jax
import jax.numpy as jnp

from scorekit.typing import Array

_LEAST = 1e-3
"""Smallest width and height of a bin, as a fraction of the interval, and smallest slope of a knot."""


def num_parameters(bins: int) -> int:
    """Parameters of a spline: widths and heights of its bins, and slopes at its inner knots."""
    return 3 * bins - 1


def _knots(raw: Array, bound: float) -> Array:
    """Positions of the knots in ``[-bound, bound]``, ``(..., K + 1)``, from the logarithms of the bins' sizes."""
    bins = raw.shape[-1]
    sizes = _LEAST + (1.0 - _LEAST * bins) * jax.nn.softmax(raw, axis=-1)
    inner = 2.0 * bound * jnp.cumsum(sizes[..., :-1], axis=-1) - bound
    ends = jnp.full((*raw.shape[:-1], 1), bound, raw.dtype)
    return jnp.concatenate([-ends, inner, ends], axis=-1)


def spline(x: Array, parameters: Array, bound: float, inverse: bool = False) -> tuple[Array, Array]:
    """A monotone spline of each value, the identity outside of ``[-bound, bound]`` and where all parameters are 0.

    In a bin with the ends ``(x_0, y_0)``, ``(x_1, y_1)``, the mean slope s, the slopes ``d_0``, ``d_1`` at its ends and
    ``v = (x - x_0) / (x_1 - x_0)``, with ``w = v (1 - v)``::

        y     = y_0 + (y_1 - y_0) (s v^2 + d_0 w) / q,     q = s + (d_0 + d_1 - 2 s) w
        dy/dx = s^2 (d_1 v^2 + 2 s w + d_0 (1 - v)^2) / q^2

    Args:
      x: values, any shape.
      parameters: ``(*x.shape, 3 K - 1)`` for K bins.
      bound: half of the length of the interval.
      inverse: whether ``x`` are values of the spline.

    Returns:
      The values and the logarithms of the slopes at them, shaped like ``x``.

    Source: Durkan et al. 2019 (https://arxiv.org/abs/1906.04032).
    """
    bins = (parameters.shape[-1] + 1) // 3
    xs, ys = (_knots(raw, bound) for raw in (parameters[..., :bins], parameters[..., bins : 2 * bins]))
    at_zero = math.log(math.expm1(1.0 - _LEAST))
    slopes = _LEAST + jax.nn.softplus(parameters[..., 2 * bins :] + at_zero)
    slopes = jnp.pad(slopes, [(0, 0)] * x.ndim + [(1, 1)], constant_values=1.0)
    within = (x > -bound) & (x < bound)
    safe = jnp.where(within, x, 0.0)
    index = jnp.sum((ys if inverse else xs)[..., 1:-1] <= safe[..., None], axis=-1, keepdims=True)
    take = lambda values, offset=0: jnp.take_along_axis(values, index + offset, axis=-1)[..., 0]
    x_0, y_0, d_0, d_1 = take(xs), take(ys), take(slopes), take(slopes, 1)
    width, height = take(xs, 1) - x_0, take(ys, 1) - y_0
    s = height / width
    curve = d_0 + d_1 - 2.0 * s
    below, above = (safe - y_0) / height, (take(ys, 1) - safe) / height
    v = _root(below, above, s, d_0, d_1) if inverse else (safe - x_0) / width
    w = v * (1.0 - v)
    q = s + curve * w
    y = v * width + x_0 if inverse else y_0 + height * (s * jnp.square(v) + d_0 * w) / q
    slope = jnp.square(s) * (d_1 * jnp.square(v) + 2.0 * s * w + d_0 * jnp.square(1.0 - v)) / jnp.square(q)
    log_slope = jnp.where(within, -jnp.log(slope) if inverse else jnp.log(slope), 0.0)
    return jnp.where(within, y, x), log_slope


def _root(below: Array, above: Array, s: Array, d_0: Array, d_1: Array) -> Array:
    """The v in [0, 1] at which a share ``below`` of the height of the bin is reached: ``(s - b) v^2 + b v = s below``.

    Nothing cancels: of the two forms of the root and of its discriminant, each is taken where its terms are positive.
    """
    b = d_0 * above + (2.0 * s - d_1) * below
    steep = 4.0 * s * jnp.abs(b - s)
    root = jnp.sqrt(jnp.where(b > s, jnp.square(b - 2.0 * s) + steep * above, jnp.square(b) + steep * below))
    falls = b < 0
    rising, falling = (
        2.0 * s * below / jnp.where(falls, 1.0, b + root),
        (root - b) / jnp.where(falls, 2.0 * (s - b), 1.0),
    )
    return jnp.where(falls, falling, rising)

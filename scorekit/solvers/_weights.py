"""The weights of polynomial (Adams and exponential Adams) steps, for any spacing of the times.

A step integrates ``x_s = (scale_s / scale_t) x_t + scale_s int slope d(clock)`` with the slope replaced by the
polynomial through its values at the times ``z_0 = t, z_1, ...``. The weight of an earlier slope is the integral of its
Lagrange polynomial; the newest slope gets the rest of the first-order weight, so that a step without history is exactly
the first-order step. The integrals are Gauss-Legendre sums of positive exponentials: no phi-functions, and no
cancellation for small steps. All weights of all steps are one small array.
"""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.numerics.coordinates import CoordinateName, frame
from scorekit.solvers._base import LinearSolver, NoiseLevels, Row, noise_levels
from scorekit.typing import Array, ArrayLike, Schedule

Variable: TypeAlias = Literal["clock", "log_snr", "t"]
"""The variable of the polynomial: the coordinate's own clock, half the log-SNR, or the time."""


def _quadrature(count: int) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(count)
    return 0.5 * (x + 1.0), 0.5 * w


_NODES, _GAUSS = _quadrature(12)
_FEW_NODES, _FEW_GAUSS = _quadrature(2)  # exact for cubic polynomials


def half_log_snr(levels: NoiseLevels) -> tuple[Array, Array]:
    """``log(alpha / sigma)`` and whether it is finite; 0 where it is not."""
    finite = (levels.alpha > 0) & (levels.sigma > 0)
    return jnp.log(jnp.where(finite, levels.alpha, 1.0) / jnp.where(finite, levels.sigma, 1.0)), finite


def lagrange_weights(kernel: Array, nodes: Array, z: Array, valid: Array | np.ndarray) -> Array:
    """``int kernel L_j`` for the polynomials through the positions ``z_0, z_1, ...`` that are valid; 0 for the others.

    Args:
      kernel: the kernel with the weights of the quadrature, ``(..., Q)``.
      nodes: ``(..., Q)``.
      z: positions ``(..., m)``.
      valid: existence of each position, ``(..., m)``.

    >>> weights = lagrange_weights(jnp.ones(1), jnp.ones(1), jnp.array([0.0, -2.0, 9.0]), np.array([True, True, False]))
    >>> weights.tolist()
    [1.5, -0.5, 0.0]
    """
    others = valid[..., :, None] & valid[..., None, :] & ~np.eye(z.shape[-1], dtype=bool)
    apart = jnp.where(others, z[..., :, None] - z[..., None, :], 1.0)
    ratios = (nodes[..., None, None] - z[..., None, None, :]) / apart[..., None, :, :]
    basis = jnp.prod(jnp.where(others[..., None, :, :], ratios, 1.0), axis=-1)
    return jnp.where(valid, jnp.sum(kernel[..., None] * basis, axis=-2), 0.0)


def available(num_past: ArrayLike, count: int) -> Array | np.ndarray:
    """Whether t and each of ``count - 1`` earlier times exists, ``(..., count)``; a constant where ``num_past`` is."""
    if not isinstance(num_past, jax.Array):
        num_past = np.asarray(num_past)
    return np.arange(count) <= num_past[..., None]


def first_order(coordinate: CoordinateName, t: NoiseLevels, s: NoiseLevels) -> Row:
    """The step with a constant slope: DDIM in every coordinate but "angle"."""
    match coordinate:
        case "signal":
            return Row(t.t, x=s.sigma / t.sigma, x0=gain("signal", t, s))
        case "angle":
            old, new = (frame("angle", level.alpha, level.sigma) for level in (t, s))
            turn = new.clock - old.clock
            # x_t / scale is (alpha x0 + sigma eps) / scale = noise x0 - signal eps
            x0 = new.scale * (old.noise + turn * old.signal)
            eps = new.scale * (turn * old.noise - old.signal)
            return Row(t.t, x0=x0, eps=eps, signal=old.signal, noise=old.noise)
    return Row(t.t, x0=s.alpha, eps=s.sigma)


def gain(coordinate: CoordinateName, t: NoiseLevels, s: NoiseLevels) -> Array:
    """The weight of a constant slope, ``scale_s (clock_s - clock_t)``, without clocks that may be infinite."""
    match coordinate:
        case "signal":
            return s.alpha - t.alpha * s.sigma / t.sigma
        case "sigma":
            return s.sigma - t.sigma * s.alpha / jnp.where(t.alpha > 0, t.alpha, 1.0)
    old, new = (frame(coordinate, level.alpha, level.sigma) for level in (t, s))
    return new.scale * (new.clock - old.clock)


def slope_weights(
    coordinate: CoordinateName,
    variable: Variable,
    schedule: Schedule,
    levels: NoiseLevels,
    usable: Array | np.ndarray,
    num_steps: int = 1,
) -> Array:
    """The weights of the slopes at t and earlier in the step to s and, for two steps, in the previous step, to t.

    ``(..., num_steps, m)``; 0 where a step or a point has no finite position, or the point is not ``usable``.

    Args:
      coordinate: coordinate of the slopes.
      variable: the variable of the polynomial.
      schedule: the noise schedule.
      levels: noise levels at s, t and the m - 1 earlier times.
      usable: points that each step may use, ``(..., num_steps, m)``.
      num_steps: 1 or 2.
    """
    starts, ends, points = slice(1, num_steps + 1), slice(num_steps), slice(1, None)
    if variable == "clock":
        finite = levels.alpha > 0 if coordinate == "sigma" else np.ones(levels.t.shape[-1], bool)
        scale, z, *_ = frame(coordinate, jnp.where(finite, levels.alpha, 1.0), levels.sigma)
    else:
        z, finite = half_log_snr(levels)
        scale = levels.alpha if coordinate == "signal" else -levels.sigma
    smooth = finite[..., starts] & finite[..., ends]
    width = jnp.where(smooth, z[..., ends] - z[..., starts], 0.0)
    if variable == "clock":
        u, gauss = (values.astype(width.dtype) for values in (_FEW_NODES, _FEW_GAUSS))
        nodes = z[..., starts, None] + width[..., None] * u
        kernel = (scale[..., ends] * width)[..., None] * gauss
    else:
        decay = 1.0 if coordinate == "signal" else -1.0
        nodes, kernel = exponential(z[..., starts], width, scale[..., ends], decay)
        if variable == "t":
            z, nodes = levels.t, schedule.time_at(2.0 * nodes)
    valid = usable & finite[..., None, points] & smooth[..., None]
    return lagrange_weights(kernel, nodes, z[..., None, points], valid)


def exponential(start: Array, width: Array, amplitude: Array, decay: ArrayLike) -> tuple[Array, Array]:
    """Nodes in half log-SNR over a step, and the kernel ``amplitude width exp(-decay (end - node))`` at them."""
    u, weights = (values.astype(width.dtype) for values in (_NODES, _GAUSS))
    start, width, amplitude, decay = (jnp.asarray(a)[..., None] for a in (start, width, amplitude, decay))
    return start + width * u, amplitude * width * jnp.exp(-decay * width * (1.0 - u)) * weights


def with_slopes(row: Row, coordinate: CoordinateName, newest: Array, history: tuple[Array, ...]) -> Row:
    """The row with ``newest`` added to the weight of the newest slope, and the weights of the earlier ones."""
    match coordinate:
        case "signal":
            row = row._replace(x0=row.x0 + newest)
        case "sigma":
            row = row._replace(eps=row.eps + newest)
        case "flow":
            row = row._replace(x0=row.x0 - newest, eps=row.eps + newest)
        case _:
            row = row._replace(x0=row.x0 + newest * row.signal, eps=row.eps + newest * row.noise)
    return row._replace(history=history)


def with_history(row: Row, coordinate: CoordinateName, weights: Array) -> Row:
    """The row with weights for the earlier slopes ``(..., m)``, subtracted from the weight of the newest slope."""
    return with_slopes(row, coordinate, -jnp.sum(weights, axis=-1), tuple(jnp.unstack(weights, axis=-1)))


def log_snr_positions(levels: NoiseLevels, num_past: ArrayLike) -> tuple[Array, Array, Array | np.ndarray]:
    """The step h, the positions of t and of the earlier times, and which of these are valid; in half the log-SNR."""
    z, finite = half_log_snr(levels)
    h = jnp.where(finite[..., 0] & finite[..., 1], z[..., 0] - z[..., 1], 0.0)
    valid = available(num_past, z.shape[-1] - 1)[..., 1:] & finite[..., 2:] & finite[..., :1]
    return h, z[..., 1:], valid


def published_second_order(h: Array, z: Array, valid: Array | np.ndarray, gain: Array) -> Array:
    """The weight of the earlier slope in (2M) as published, ``gain h / (2 (z_1 - z_0))``, ``(..., 1)``."""
    apart = jnp.where(valid, z[..., 1:] - z[..., :1], 1.0)
    return jnp.where(valid, 0.5 * (gain * h)[..., None] / apart, 0.0)


def published_third_order(h: Array, z: Array, valid: Array | np.ndarray, amplitude: Array, decay: ArrayLike) -> Array:
    """The weights of the two earlier slopes in (3M) as published: the square of the step has half its weight."""
    nodes, kernel = exponential(z[..., 0], h, amplitude, decay)
    moved = nodes - z[..., :1]
    one = jnp.sum(kernel * moved, axis=-1)
    two = 0.5 * jnp.sum(kernel * moved * (moved + 2.0 * (z[..., :1] - z[..., 1:2])), axis=-1)
    has_one, has_two = valid[..., 0], valid[..., 1]
    first, second, between = (z[..., i] - z[..., j] for i, j in ((1, 0), (2, 0), (2, 1)))
    first, second, between = (
        jnp.where(ok, gap, 1.0) for ok, gap in ((has_one, first), (has_two, second), (has_two, between))
    )
    one = jnp.where(has_one, one, 0.0)
    two = jnp.where(has_two, two / between, 0.0)
    return jnp.stack([(one - two) / first, two / second], axis=-1)


def decay_of(t: NoiseLevels, s: NoiseLevels) -> Array:
    """``e^-h``, h the growth of half the log-SNR from t to s: ``alpha_t sigma_s / (sigma_t alpha_s)``."""
    return t.alpha * s.sigma / (t.sigma * s.alpha)


def power(base: Array, exponent: ArrayLike) -> Array:
    """``base^exponent`` for ``base >= 0`` with finite gradients at 0, where it is 1 for an exponent of 0."""
    positive = base > 0
    inside = jnp.exp(exponent * jnp.log(jnp.where(positive, base, 1.0)))
    return jnp.where(positive, inside, jnp.where(jnp.asarray(exponent) == 0, 1.0, 0.0))


class Multistep(LinearSolver):
    """A polynomial of degree ``max_past`` through the slopes of t and earlier times.

    Attributes:
      variable: variable of the polynomial: "clock", "log_snr" or "t".
    """

    variable: Variable = "clock"

    @property
    def max_past(self) -> int:
        return self.order - 1

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times, self.max_past)
        row = first_order(self.coordinate, levels.at(1), levels.at(0))
        if not self.max_past:
            return row
        usable = available(num_past, self.order)[..., None, :]
        weights = slope_weights(self.coordinate, self.variable, schedule, levels, usable)
        return with_history(row, self.coordinate, weights[..., 0, 1:])

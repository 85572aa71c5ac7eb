"""The weights of polynomial (Adams and exponential Adams) steps, for any spacing of the times.

A step integrates ``x_s = (scale_s / scale_t) x_t + scale_s int slope d(clock)`` with the slope replaced by the
polynomial through its values at the times z_0 = t, z_1, ... In Newton's form the constant term is the first-order
step, and each further term is a divided difference times one integral, which vanishes where its times do not exist.
The integrals are Gauss-Legendre sums of positive exponentials: no phi-functions, and nothing that cancels for small
steps.
"""

import math
from typing import Literal, TypeAlias

import jax.numpy as jnp
import numpy as np

from scorekit.schedules.numerics import sqrt
from scorekit.solvers.coordinates import CoordinateName, frame
from scorekit.solvers.planned import Row
from scorekit.typing import Array, ArrayLike, Schedule

Variable: TypeAlias = Literal["clock", "log_snr", "t"]
"""In what the slope is a polynomial: the coordinate's own clock, half the log-SNR, or the time."""

_X, _W = np.polynomial.legendre.leggauss(12)
_NODES, _GAUSS = 0.5 * (_X + 1.0), 0.5 * _W


def half_log_snr(alpha: Array, sigma: Array) -> tuple[Array, Array]:
    """``log(alpha / sigma)`` and whether it is finite; 0 where it is not.

    >>> half_log_snr(jnp.ones(2), jnp.array([1.0, 0.0]))[1]
    Array([ True, False], dtype=bool)
    """
    finite = (alpha > 0) & (sigma > 0)
    return jnp.log(jnp.where(finite, alpha, 1.0)) - jnp.log(jnp.where(finite, sigma, 1.0)), finite


def newton_integrals(kernel: Array, nodes: Array, z: tuple[Array, ...]) -> tuple[Array, ...]:
    """``int kernel prod_{i<k} (q - z_i)`` for k = 1, 2, ...; quadrature nodes lie on a last axis.

    >>> [round(float(c), 4) for c in newton_integrals(jnp.ones(12), jnp.asarray(_NODES), (jnp.zeros(()), jnp.ones(())))]
    [0.5]
    """
    out, product = [], jnp.asarray(kernel * _GAUSS.astype(kernel.dtype))
    for z_i in z[:-1]:
        product = product * (nodes - z_i[..., None])
        out.append(jnp.sum(product, axis=-1))
    return tuple(out)


def newton_weights(z: tuple[Array, ...], integrals: tuple[Array, ...], valid: tuple[Array, ...]) -> list[Array]:
    """The weights of ``f(z_0), f(z_1), ...`` in ``sum_k integrals_k f[z_0, ..., z_k]`` over the valid k >= 1.

    >>> [float(w) for w in newton_weights((jnp.array(0.0), jnp.array(-2.0)), (jnp.array(3.0),), (jnp.array(True),))]
    [1.5, -1.5]
    """
    weights = [jnp.zeros_like(z[0]) for _ in z]
    for k, (c, ok) in enumerate(zip(integrals, valid, strict=True), start=1):
        for j in range(k + 1):
            apart = math.prod(z[j] - z[i] for i in range(k + 1) if i != j)
            weights[j] = weights[j] + jnp.where(ok, c / jnp.where(ok, apart, 1.0), 0.0)
    return weights


def validity(known: ArrayLike, finite: tuple[Array, ...], ends: Array) -> tuple[Array, ...]:
    """Whether the k-th divided difference exists: its times are known, and finite where the slope is a polynomial.

    >>> [bool(v) for v in validity(1, (True, True, True), jnp.array(True))]
    [True, False]
    """
    out, ok = [], ends & finite[0]
    for k, f in enumerate(finite[1:], start=1):
        ok = ok & f & (k <= jnp.asarray(known))
        out.append(ok)
    return tuple(out)


def first_order(coordinate: CoordinateName, schedule: Schedule, t: Array, s: Array) -> Row:
    """The step with a constant slope: DDIM in every coordinate but "angle"."""
    alpha_t, sigma_t, alpha, sigma = schedule.alpha(t), schedule.sigma(t), schedule.alpha(s), schedule.sigma(s)
    match coordinate:
        case "signal":
            return Row(t, x=sigma / sigma_t, x0=gain("signal", schedule, t, s))
        case "angle":
            old, new = frame("angle", alpha_t, sigma_t), frame("angle", alpha, sigma)
            turn = new.clock - old.clock
            # x_t / scale is (alpha x0 + sigma eps) / scale = noise x0 - signal eps
            x0 = new.scale * (old.noise + turn * old.signal)
            eps = new.scale * (turn * old.noise - old.signal)
            return Row(t, x0=x0, eps=eps, signal=old.signal, noise=old.noise)
    return Row(t, x0=alpha, eps=sigma)


def polynomial(
    coordinate: CoordinateName, variable: Variable, schedule: Schedule, t: Array, s: Array, others: tuple[Array, ...]
) -> tuple[tuple[Array, ...], tuple[Array, ...], tuple[Array, ...], Array]:
    """What Newton's form needs for a step from t to s with the slope known at t and at ``others``.

    Returns the positions ``z`` of the times, the integrals for k >= 1 (scaled to multiply into ``x_s``), whether each
    position is finite, and whether the step is.
    """
    times = (t, *others)
    levels = [(schedule.alpha(u), schedule.sigma(u)) for u in times]
    alpha, sigma = schedule.alpha(s), schedule.sigma(s)
    if variable == "clock":
        finite = tuple((a > 0) | (coordinate != "sigma") for a, _ in levels)
        z = tuple(frame(coordinate, jnp.where(f, a, 1.0), b).clock for f, (a, b) in zip(finite, levels, strict=True))
        ends = finite[0] & ((alpha > 0) | (coordinate != "sigma"))
        end = frame(coordinate, jnp.where(ends, alpha, 1.0), sigma)
        width = end.clock - z[0]
        nodes = z[0][..., None] + width[..., None] * _NODES.astype(width.dtype)
        kernel = (end.scale * width)[..., None] * jnp.ones_like(nodes)
    else:
        lambdas, finite = zip(*(half_log_snr(*level) for level in levels), strict=True)
        last, ends = half_log_snr(alpha, sigma)
        ends = ends & finite[0]
        width = jnp.where(ends, last - lambdas[0], 0.0)
        decay = 1.0 if coordinate == "signal" else -1.0
        amplitude = alpha if coordinate == "signal" else -sigma
        nodes, kernel = exponential_nodes(lambdas[0], width, amplitude, decay)
        z = tuple(lambdas)
        if variable == "t":
            z, nodes = times, schedule.time_at(2.0 * nodes)
    z = tuple(jnp.where(f, p, 0.0) for f, p in zip(finite, z, strict=True))
    return z, newton_integrals(kernel, nodes, z), finite, ends


def exponential_nodes(start: Array, width: Array, amplitude: Array, decay: ArrayLike) -> tuple[Array, Array]:
    """Nodes in half log-SNR over a step, and the kernel ``amplitude width exp(-decay (end - node))`` at them."""
    u = _NODES.astype(width.dtype)
    start, width, amplitude, decay = (jnp.asarray(a)[..., None] for a in (start, width, amplitude, decay))
    return start + width * u, amplitude * width * jnp.exp(-decay * width * (1.0 - u))


def corrected(row: Row, coordinate: CoordinateName, weights: list[Array]) -> Row:
    """The row with ``weights[0]`` folded into the terms of the newest slope and the others as its history."""
    own, history = weights[0], tuple(weights[1:])
    match coordinate:
        case "signal":
            row = row._replace(x0=row.x0 + own)
        case "sigma":
            row = row._replace(eps=row.eps + own)
        case "flow":
            row = row._replace(x0=row.x0 - own, eps=row.eps + own)
        case _:
            row = row._replace(x0=row.x0 + own * row.signal, eps=row.eps + own * row.noise)
    return row._replace(history=history)


def steps_of_log_snr(schedule: Schedule, t: Array, s: Array, earlier: tuple[Array, ...]):
    """``(h, positions, whether each is finite, whether the step is)`` in half the log-SNR."""
    levels, finite = zip(*(half_log_snr(schedule.alpha(u), schedule.sigma(u)) for u in (t, *earlier)), strict=True)
    last, ends = half_log_snr(schedule.alpha(s), schedule.sigma(s))
    h = jnp.where(ends & finite[0], last - levels[0], 0.0)
    return h, levels, finite, ends & finite[0]


def published_third_order(h, z, amplitude, decay):
    """The integrals of (3M) as published: the square of the step enters with half its weight."""
    nodes, kernel = exponential_nodes(z[0], h, amplitude, decay)
    first, second = newton_integrals(kernel, nodes, z)
    return first, 0.5 * (second + first * (z[0] - z[1]))


def gain(coordinate: CoordinateName, schedule: Schedule, t: Array, s: Array) -> Array:
    """The weight of a constant slope, ``scale_s (clock_s - clock_t)``, without clocks that may be infinite."""
    alpha_t, sigma_t, alpha, sigma = schedule.alpha(t), schedule.sigma(t), schedule.alpha(s), schedule.sigma(s)
    match coordinate:
        case "signal":
            return alpha - alpha_t * sigma / sigma_t
        case "sigma":
            return sigma - sigma_t * alpha / jnp.where(alpha_t > 0, alpha_t, 1.0)
    old, new = frame(coordinate, alpha_t, sigma_t), frame(coordinate, alpha, sigma)
    return new.scale * (new.clock - old.clock)


def decay_of(schedule: Schedule, t: Array, s: Array) -> Array:
    """``e^-h``, h the growth of half the log-SNR from t to s: ``alpha_t sigma_s / (sigma_t alpha_s)``."""
    return schedule.alpha(t) * schedule.sigma(s) / (schedule.sigma(t) * schedule.alpha(s))


def power(base: Array, exponent: ArrayLike) -> Array:
    """``base^exponent`` for ``base >= 0`` with finite gradients at 0, where it is 1 for an exponent of 0.

    >>> float(power(jnp.array(0.0), 0.0)), float(power(jnp.array(0.0), 2.0))
    (1.0, 0.0)
    """
    positive = base > 0
    inside = jnp.exp(exponent * jnp.log(jnp.where(positive, base, 1.0)))
    return jnp.where(positive, inside, jnp.where(jnp.asarray(exponent) == 0, 1.0, 0.0))


def noise_share(base: Array) -> Array:
    """``sqrt(1 - base^2)`` with a finite gradient at 1."""
    return sqrt((1.0 - base) * (1.0 + base))

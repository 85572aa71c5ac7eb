"""Time grids: decreasing times ``(n + 1,)`` for ``n`` steps. Any such array is a grid; these are common ones."""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, Fraction, Positive, PositiveInt, checked
from scorekit.checks import check, nan_unless
from scorekit.numerics.grids import check_grid
from scorekit.schedules import LinearVP
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike, Number, Schedule

__all__ = ["check_grid", "from_sigmas", "karras", "matching", "quadratic", "uniform", "uniform_log_snr", "vp_quadratic"]

_ROUNDING = 1e-5  # of a time that is found from a log-SNR


@checked
def uniform(n: PositiveInt, t_max: Fraction[Number] = 1.0, t_min: Fraction[Number] = 0.0) -> Array:
    """``n`` equal steps in t from ``t_max`` to ``t_min``: times ``(n + 1,)``.

    Args:
      n: number of steps.
      t_max: first time of the grid.
      t_min: last time of the grid, below ``t_max``; traced ends in another order give NaN.

    >>> uniform(2)
    Array([1. , 0.5, 0. ], dtype=float32)
    """
    _check_ends(t_max, t_min)
    return _valid(t_max, t_min, jnp.linspace(t_max, t_min, n + 1))


@checked
def quadratic(
    n: PositiveInt, t_max: Fraction[Number] = 1.0, t_min: Fraction[Number] = 0.0, *, power: Positive[Number] = 2.0
) -> Array:
    """Equal steps in ``t^(1/power)``: more of them near the data.

    Args:
      n: number of steps.
      t_max: first time of the grid.
      t_min: last time of the grid, below ``t_max``; traced ends in another order give NaN.
      power: exponent, 2 for the quadratic grid.

    >>> quadratic(2)
    Array([1.  , 0.25, 0.  ], dtype=float32)

    Source: Song et al. 2020 (https://arxiv.org/abs/2010.02502).
    """
    _check_ends(t_max, t_min)
    return _valid(t_max, t_min, _quadratic(n, t_max, t_min, power))


def _quadratic(n: int, t_max: ArrayLike, t_min: ArrayLike, power: ArrayLike) -> Array:
    t_max, t_min = jnp.asarray(t_max, float), jnp.asarray(t_min, float)
    ts = jnp.linspace(t_max ** (1 / power), t_min ** (1 / power), n + 1) ** power
    return ts.at[0].set(t_max).at[-1].set(t_min)


@checked
def matching(schedule: Schedule, other: Schedule, ts: ArrayLike) -> Array:
    """The times at which ``schedule`` has the log-SNR that ``other`` has at ``ts``: a grid of one on the other.

    Sampling starts at the first of them: ``sample_prior(key, schedule, like, t=ts[0])``. Traced times that ``schedule``
    does not reach make the grid NaN.

    Args:
      schedule: the schedule to step on.
      other: the schedule whose noise levels to take, within the range of ``schedule``.
      ts: decreasing times ``(n + 1,)`` of ``other``.

    >>> from scorekit.schedules import LinearVP, RectifiedFlow
    >>> [round(float(t), 2) for t in matching(RectifiedFlow(), LinearVP(), quadratic(3))]
    [0.99, 0.72, 0.27, 0.0]
    """
    return _times_at(schedule, other.log_snr(check_grid(ts)), "noise levels in the range of schedule", ts=ts)


@checked
def from_sigmas(schedule: Schedule, sigmas: Annotated[ArrayLike, Between(0, infinite=True)]) -> Array:
    """The times at which ``sigma / alpha`` has these values, as EDM, k-diffusion and schedulers of diffusers name them.

    ``log_snr(ts) = -2 log(sigmas)``. A last 0 is t = 0 where the schedule has ``sigma(0) = 0``. Other schedules, such
    as tables of betas, end at a positive sigma: leave the 0 out, and ``denoiser(x, ts[-1]).x0`` is the step to it.
    Traced values that the schedule does not reach make the grid NaN.

    Args:
      schedule: the schedule to step on.
      sigmas: decreasing values ``(n + 1,)`` of ``sigma / alpha``, within the range of ``schedule``.

    >>> from scorekit.schedules import EDM
    >>> from_sigmas(EDM(sigma_min=0.0), [80.0, 5.0, 0.625, 0.0]).round(4)
    Array([1.   , 0.673, 0.5  , 0.   ], dtype=float32)
    """
    if np.ndim(sigmas) != 1 or np.shape(sigmas)[0] < 2:
        raise ValueError(f"sigmas must have shape (n + 1,) with n >= 1 steps, got shape {np.shape(sigmas)}")
    allowed, ends = "decreasing values of sigma / alpha in the range of schedule", jnp.array([1.0, 0.0])
    if not is_traced(sigmas) and not is_traced(reach := jnp.exp(-0.5 * schedule.log_snr(ends))):
        allowed += f", {reach[0]:.3g} to {reach[1]:.3g}"
        if np.asarray(sigmas)[-1] == 0 < reach[1]:
            allowed += " (leave the last 0 out: denoiser(x, ts[-1]).x0 is the step to it)"
    return _times_at(schedule, -2.0 * jnp.log(jnp.asarray(sigmas, float)), allowed, sigmas=sigmas)


def _times_at(schedule: Schedule, log_snr: Array, allowed: str, **named: ArrayLike) -> Array:
    """The times with this log-SNR, up to rounding within [0, 1]; concrete ones beyond raise, traced ones are NaN."""
    times = schedule.time_at(log_snr)
    steps = jnp.diff(times)
    inside = (times[0] <= 1 + _ROUNDING) & (times[-1] >= -_ROUNDING) & jnp.all(steps <= _ROUNDING)
    if not is_traced(times) and not (inside and jnp.all(steps < 0)):
        ((name, value),) = named.items()
        got, become = (np.array2string(np.asarray(x), threshold=8) for x in (value, times))
        raise ValueError(f"{name} must have {allowed}, got {got}, which become {become}")
    return nan_unless(inside, jnp.clip(times, 0.0, 1.0))


@checked
def vp_quadratic(
    schedule: Schedule,
    n: PositiveInt,
    t_max: Fraction[Number] = 1.0,
    t_min: Fraction[Number] = 0.0,
    *,
    power: Positive[Number] = 2.0,
) -> Array:
    """The noise levels of :func:`quadratic` on ``LinearVP``, on any schedule: a good grid for the smooth solvers.

    Where the noise at ``t_max`` is above the highest of ``LinearVP``, or that at ``t_min`` below its lowest, the
    first or last step bridges the difference.

    Args:
      schedule: the schedule to step on.
      n: number of steps.
      t_max: first time of the grid.
      t_min: last time of the grid, below ``t_max``; traced ends in another order give NaN.
      power: exponent; 1 for steps equal in the t of ``LinearVP``, larger spends more steps at low noise.

    >>> from scorekit.schedules import RectifiedFlow
    >>> [round(float(t), 2) for t in vp_quadratic(RectifiedFlow(), 3)]
    [1.0, 0.72, 0.27, 0.0]
    """
    _check_ends(t_max, t_min)
    is_plain = jax.tree_util.treedef_is_leaf(jax.tree.structure(schedule))  # an object that jit does not take
    return (_vp_quadratic if is_plain else _compiled)(schedule, n, t_max, t_min, power)


def _vp_quadratic(schedule: Schedule, n: int, t_max: ArrayLike, t_min: ArrayLike, power: ArrayLike) -> Array:
    vp, (t_max, t_min) = LinearVP(), jnp.asarray([t_max, t_min], float)
    log_snr = jnp.clip(schedule.log_snr(jnp.stack([t_max, t_min])), vp.log_snr(1.0), vp.log_snr(0.0))
    first, last = vp.time_at(log_snr)
    ts = schedule.time_at(vp.log_snr(_quadratic(n, first, last, power)))
    return _valid(t_max, t_min, jnp.clip(ts, t_min, t_max).at[0].set(t_max).at[-1].set(t_min))


_compiled = jax.jit(_vp_quadratic, static_argnums=1)  # eagerly, forty programs would be compiled


@checked
def uniform_log_snr(
    schedule: Schedule,
    n: PositiveInt,
    t_max: Fraction[Number] = 1.0 - 1e-3,
    t_min: Fraction[Number] = 1e-3,
    *,
    to_zero: bool = True,
) -> Array:
    """Equal steps in log-SNR from ``t_max`` to ``t_min``; with ``to_zero`` the last of the ``n`` goes on to t = 0.

    ``log_snr(ts[k]) = log_snr(t_max) + (k / m) (log_snr(t_min) - log_snr(t_max))``, ``m = n - 1`` or n.

    Args:
      schedule: the schedule to step on, with finite log-SNR at both ends.
      n: number of steps.
      t_max: first time of the grid.
      t_min: last time of the grid, below ``t_max``; traced ends in another order give NaN.
      to_zero: whether the last of the n steps goes from ``t_min`` to t = 0.

    >>> from scorekit.schedules import RectifiedFlow
    >>> uniform_log_snr(RectifiedFlow(), 3, t_max=0.75, t_min=0.25)
    Array([0.75, 0.5 , 0.25, 0.  ], dtype=float32)

    Source: Lu et al. 2022, step size schedule (https://arxiv.org/abs/2206.00927).
    """
    first, last = _finite_ends(schedule, t_max, t_min)
    return _between(schedule, n, t_max, t_min, to_zero, lambda k: jnp.linspace(first, last, k + 1))


@checked
def karras(
    schedule: Schedule,
    n: PositiveInt,
    t_max: Fraction[Number] = 1.0 - 1e-3,
    t_min: Fraction[Number] = 1e-3,
    *,
    rho: Positive[Number] = 7.0,
    to_zero: bool = True,
) -> Array:
    """Equal steps in ``(sigma / alpha)^(1/rho)``; with ``to_zero`` the last of the ``n`` steps goes on to t = 0.

    Args:
      schedule: the schedule to step on, with finite log-SNR at both ends.
      n: number of steps.
      t_max: first time of the grid.
      t_min: last time of the grid, below ``t_max``; traced ends in another order give NaN.
      rho: exponent; larger spends more steps at low noise.
      to_zero: whether the last of the n steps goes from ``t_min`` to t = 0.

    >>> from scorekit.schedules import EDM
    >>> karras(EDM(), 2, 1.0, 0.0, to_zero=False).round(4)
    Array([1. , 0.5, 0. ], dtype=float32)

    Source: Karras et al. 2022, eq. 5 (https://arxiv.org/abs/2206.00364).
    """
    first, last = (-0.5 * end / rho for end in _finite_ends(schedule, t_max, t_min))  # logarithms: a power overflows

    def log_snrs(k):
        u = jnp.linspace(0.0, 1.0, k + 1)
        return -2.0 * rho * jnp.logaddexp(first + jnp.log1p(-u), last + jnp.log(u))

    return _between(schedule, n, t_max, t_min, to_zero, log_snrs)


def _between(schedule, n, t_max, t_min, to_zero, log_snrs):
    """The times of ``log_snrs(number of steps)``, with exactly the given ends."""
    if to_zero:
        check(lambda t: t > 0, "> 0 unless to_zero is False", t_min=t_min)
    times = schedule.time_at(log_snrs(n - 1 if to_zero else n))
    times = _valid(t_max, t_min, times.at[-1].set(t_min).at[0].set(t_max))
    return jnp.concatenate([times, jnp.zeros_like(times[:1])]) if to_zero else times


def _check_ends(t_max: ArrayLike, t_min: ArrayLike) -> None:
    if not is_traced(t_max):
        check(lambda t: t < t_max, f"< t_max = {t_max}", t_min=t_min)


def _valid(t_max: ArrayLike, t_min: ArrayLike, ts: Array) -> Array:
    """``ts``; NaN for traced ends that do not decrease within [0, 1]."""
    if not (is_traced(t_max) or is_traced(t_min)):
        return ts
    t_max, t_min = jnp.asarray(t_max), jnp.asarray(t_min)
    return nan_unless((t_min >= 0) & (t_min < t_max) & (t_max <= 1), ts)


def _finite_ends(schedule: Schedule, t_max: ArrayLike, t_min: ArrayLike) -> tuple[Array, Array]:
    _check_ends(t_max, t_min)
    ends = schedule.log_snr(t_max), schedule.log_snr(t_min)
    for name, t, end in zip(("t_max", "t_min"), (t_max, t_min), ends, strict=True):
        if not is_traced(end) and not np.isfinite(end):
            raise ValueError(f"{name} must be a time with finite log-SNR, got {t} where log_snr = {end}")
    return ends

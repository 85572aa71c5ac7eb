"""Schedules derived from other schedules or from plain functions."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.arguments import Finite, Positive, checked
from scorekit.checks import check_like
from scorekit.numerics import sqrt, wide
from scorekit.schedules._derivatives import time_derivative
from scorekit.schedules._variance_preserving import VariancePreserving
from scorekit.trees import is_traced, pytree_dataclass, static
from scorekit.typing import Array, Number, Schedule


@pytree_dataclass
class Shifted(Schedule):
    """See :func:`shifted`.

    Attributes:
      base: the schedule whose path alpha and sigma stay on.
      shift: log-SNR of this schedule minus log-SNR of the base, in nats.
    """

    base: Schedule
    shift: Finite[Number]

    def _polar(self, t):
        """``(finite, log_snr, radius)``: the new log-SNR gives alpha / sigma, the path of the base the radius.

        Alpha of the base at the shifted time would lose digits near t = 1, where times are coarse.
        """
        t = wide(t)
        finite = jnp.isfinite(self.base.log_snr(t))  # the shift does not change an infinite log-SNR
        log_snr = self.log_snr(jnp.where(finite, t, 0.5))
        time = self.base.time_at(log_snr)
        return finite, log_snr, jnp.hypot(self.base.alpha(time), self.base.sigma(time))

    def alpha(self, t):
        finite, log_snr, radius = self._polar(t)
        return jnp.where(finite, radius * jnp.sqrt(jax.nn.sigmoid(log_snr)), self.base.alpha(t))

    def sigma(self, t):
        finite, log_snr, radius = self._polar(t)
        return jnp.where(finite, radius * jnp.sqrt(jax.nn.sigmoid(-log_snr)), self.base.sigma(t))

    def log_snr(self, t):
        return self.base.log_snr(t) + self.shift

    def time_at(self, log_snr):
        return self.base.time_at(wide(log_snr) - self.shift)


@checked
def shifted(base: Schedule, noise_factor: Positive[Number]) -> Shifted:
    """The schedule whose noise-to-signal ratio is ``noise_factor`` times the ratio of ``base`` at every t.

    ``log_snr(t) = base.log_snr(t) - 2 log(noise_factor)``; alpha and sigma remain on the path of ``base`` (variance
    preserving, straight, ...). An image k times larger per side needs ``noise_factor`` of about k to mask the same
    features; ``shifted(RectifiedFlow(), f)`` is the "flow shift" ``t -> f t / (1 + (f - 1) t)``.

    Args:
      base: any schedule whose ``time_at`` covers the shifted range.
      noise_factor: factor of the noise-to-signal ratio; values above 1 add noise.

    >>> from scorekit.schedules import RectifiedFlow
    >>> float(shifted(RectifiedFlow(), 3.0).sigma(0.5).round(4))
    0.75

    Source: Hoogeboom et al. 2023 (https://arxiv.org/abs/2301.11093); Esser et al. 2024
    (https://arxiv.org/abs/2403.03206).
    """
    return Shifted(base=base, shift=-2.0 * jnp.log(noise_factor))


@pytree_dataclass
class ZeroTerminalSNR(VariancePreserving):
    """Shifts and scales alpha of a variance-preserving schedule so that ``alpha(1) = 0``; ``alpha(0)`` is unchanged.

    ``alpha'(t) = (alpha(t) - alpha(1)) alpha(0) / (alpha(0) - alpha(1))``, ``sigma'^2 = 1 - alpha'^2``.

    Args:
      base: a variance-preserving schedule.

    >>> from scorekit.schedules import LinearVP
    >>> ZeroTerminalSNR(LinearVP()).alpha(1.0)
    Array(0., dtype=float32)

    Source: Lin et al. 2023, alg. 1 (https://arxiv.org/abs/2305.08891).
    """

    base: Schedule = dataclasses.field(kw_only=False)

    def __post_init__(self):
        t = jnp.array([0.0, 0.5, 1.0])
        norm = jnp.square(self.base.alpha(t)) + jnp.square(self.base.sigma(t))
        if not is_traced(norm) and not bool(jnp.allclose(norm, 1.0, atol=1e-3)):
            raise ValueError(f"base must be variance preserving (alpha^2 + sigma^2 = 1), got {norm} at t = 0, 1/2, 1")

    def _ends(self):
        """``(alpha(0), alpha(1), 1 - alpha(0))`` of the base, the last without cancellation."""
        start = self.base.alpha(0.0)
        return start, self.base.alpha(1.0), jnp.square(self.base.sigma(0.0)) / (1.0 + start)

    def alpha(self, t):
        start, end, _ = self._ends()
        return (self.base.alpha(t) - end) * start / (start - end)

    def _one_minus_alpha(self, t):
        start, end, gap = self._ends()
        base_gap = jnp.square(self.base.sigma(t)) / (1.0 + self.base.alpha(t))
        return (start * base_gap - end * gap) / (start - end)

    def sigma(self, t):
        return sqrt(self._one_minus_alpha(t) * (1.0 + self.alpha(t)))

    def log_snr(self, t):
        variance = self._one_minus_alpha(t) * (1.0 + self.alpha(t))
        return 2.0 * jnp.log(self.alpha(t)) - jnp.log(variance)

    def time_at(self, log_snr):
        start, end, gap = self._ends()
        log_snr = wide(log_snr)
        alpha = jnp.sqrt(jax.nn.sigmoid(log_snr))
        one_minus_alpha = jax.nn.sigmoid(-log_snr) / (1.0 + alpha)
        base_alpha = alpha * (start - end) / start + end
        base_gap = (one_minus_alpha * (start - end) + end * gap) / start
        base_log_snr = 2.0 * jnp.log(base_alpha) - jnp.log(base_gap * (1.0 + base_alpha))
        return self.base.time_at(base_log_snr)


@pytree_dataclass
class FromFunctions(Schedule):
    """See :func:`schedule_from_functions`.

    Attributes:
      alpha_fn, sigma_fn: signal and noise scale as functions of t.
      log_snr_fn: ``log(alpha^2 / sigma^2)``; None to compute it from the two.
      time_at_fn: inverse of ``log_snr_fn``; None for bisection on [0, 1].
    """

    alpha_fn: Callable[[Array], Array] = static()
    sigma_fn: Callable[[Array], Array] = static()
    log_snr_fn: Callable[[Array], Array] | None = static(default=None)
    time_at_fn: Callable[[Array], Array] | None = static(default=None)

    def alpha(self, t):
        return self.alpha_fn(wide(t))

    def sigma(self, t):
        return self.sigma_fn(wide(t))

    def log_snr(self, t):
        if self.log_snr_fn is not None:
            return self.log_snr_fn(wide(t))
        return 2.0 * (jnp.log(self.alpha(t)) - jnp.log(self.sigma(t)))

    def time_at(self, log_snr):
        log_snr = wide(log_snr)
        return self.time_at_fn(log_snr) if self.time_at_fn is not None else _bisect(self.log_snr, log_snr)


def _bisect(decreasing: Callable[[Array], Array], value: Array) -> Array:
    """Solves ``decreasing(t) = value`` on [0, 1] to machine precision, elementwise; beyond the ends it is 0 or 1."""
    bits = jnp.finfo(value.dtype).nmant

    def halve(_, bounds):
        low, high = bounds
        middle = 0.5 * (low + high)
        above = decreasing(middle) > value
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    # 2 * bits halvings resolve times down to 2^-2bits near 0, where log-SNR changes fastest.
    low, high = jnp.zeros_like(value), jnp.ones_like(value)
    low, high = jax.lax.fori_loop(0, 2 * bits, halve, (low, high))
    t = jnp.where(decreasing(jnp.ones_like(value)) >= value, 1.0, 0.5 * (low + high))
    t = jnp.where(decreasing(jnp.zeros_like(value)) <= value, 0.0, t)
    # The derivative of the inverse: 1 / log_snr'(t).
    t, rate = jax.lax.stop_gradient((t, time_derivative(decreasing, t)))
    steep = rate < 0
    finite = jnp.where(jnp.isfinite(value), value, 0.0)
    change = finite - jax.lax.stop_gradient(finite)
    return t + jnp.where(steep, change / jnp.where(steep, rate, 1.0), 0.0)


@checked
def schedule_from_functions(
    alpha: Callable[[Array], Array],
    sigma: Callable[[Array], Array],
    *,
    log_snr: Callable[[Array], Array] | None = None,
    time_at: Callable[[Array], Array] | None = None,
) -> FromFunctions:
    """A schedule from plain functions of t, elementwise on an array of times; log-SNR must decrease over [0, 1].

    Args:
      alpha: signal scale.
      sigma: noise scale.
      log_snr: ``log(alpha^2 / sigma^2)``; by default computed from the two, with their precision.
      time_at: inverse of ``log_snr``; by default by bisection on [0, 1], differentiable once.

    >>> straight = schedule_from_functions(lambda t: 1.0 - t, lambda t: t)
    >>> float(straight.time_at(straight.log_snr(0.25)).round(4))
    0.25
    """
    schedule = FromFunctions(alpha_fn=alpha, sigma_fn=sigma, log_snr_fn=log_snr, time_at_fn=time_at)
    ts = jnp.linspace(0.01, 0.99, 33)
    values = schedule.log_snr(ts)
    check_like("t", ts, alpha=schedule.alpha(ts), sigma=schedule.sigma(ts), log_snr=values)
    if not is_traced(values) and not bool(jnp.all(jnp.diff(values) < 0)):
        raise ValueError(f"log_snr must decrease strictly in t, got {values} on linspace(0.01, 0.99, 33)")
    return schedule

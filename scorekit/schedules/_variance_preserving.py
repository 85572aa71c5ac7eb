"""Variance-preserving schedules in closed form: ``alpha^2 + sigma^2 = 1``.

``x_t = alpha(t) x0 + sigma(t) eps``, ``lambda(t) = log_snr(t) = log(alpha^2 / sigma^2)``. Each schedule is a frozen
pytree whose hyper-parameters are leaves: changing a value does not recompile, and schedules are differentiable in them.
All formulas have full relative precision in float32 over [0, 1] including both ends: variances are computed from
``expm1`` and products of sines, never from ``1 - alpha^2``; ``log_snr`` is ``+inf`` (``-inf``) where sigma (alpha) is
exactly 0.

``drift`` is f and ``diffusion_squared`` is g^2 of the forward SDE ``dx = f x dt + g dw`` (Song et al. 2021,
https://arxiv.org/abs/2011.13456): ``f = d log(alpha)/dt``, ``g^2 = d sigma^2/dt - 2 f sigma^2``.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Finite, NonNegative, Positive
from scorekit.checks import check
from scorekit.numerics import between_ends, sqrt, wide
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, ArrayLike, Number, Schedule


class VariancePreserving(Schedule):
    """``alpha^2 = sigmoid(lambda)``, ``sigma^2 = sigmoid(-lambda)`` for a subclass that defines ``log_snr``."""

    def log_snr(self, t: ArrayLike) -> Array:
        raise NotImplementedError

    def alpha(self, t: ArrayLike) -> Array:
        return jnp.exp(0.5 * jax.nn.log_sigmoid(self.log_snr(t)))

    def sigma(self, t: ArrayLike) -> Array:
        return jnp.exp(0.5 * jax.nn.log_sigmoid(-self.log_snr(t)))


def integrated_beta(beta_min: Number, beta_max: Number, t: ArrayLike) -> Array:
    t = wide(t)
    return t * (beta_min + 0.5 * t * (beta_max - beta_min))


def check_rates(beta_min: Number, beta_max: Number) -> None:
    """Raises ``ValueError`` unless ``beta_min <= beta_max``: noise grows with t."""
    check(lambda x: np.isfinite(x) & (x >= beta_min), f"finite and >= beta_min = {beta_min}", beta_max=beta_max)


def time_of_integrated_beta(beta_min: Number, beta_max: Number, total: Array) -> Array:
    # The stable root of beta_min t + (beta_max - beta_min) t^2 / 2 = total.
    root = jnp.sqrt(jnp.square(beta_min) + 2.0 * (beta_max - beta_min) * total)
    return jnp.where(total < jnp.inf, 2.0 * total / (beta_min + root), jnp.inf)


@pytree_dataclass
class LinearVP(Schedule):
    """Variance-preserving schedule with a rate beta that grows linearly.

    ``beta(t) = beta_min + t (beta_max - beta_min)``, ``B = int_0^t beta``, ``alpha = exp(-B/2)``,
    ``sigma^2 = 1 - exp(-B)``.

    Args:
      beta_min: rate at t = 0, per unit time.
      beta_max: rate at t = 1, >= ``beta_min``.

    >>> LinearVP().alpha(0.0)
    Array(1., dtype=float32)

    Source: Song et al. 2021, eq. 32 (https://arxiv.org/abs/2011.13456).
    """

    beta_min: Positive[Number] = 0.1
    beta_max: Number = 20.0

    def __post_init__(self):
        check_rates(self.beta_min, self.beta_max)

    def alpha(self, t):
        return jnp.exp(-0.5 * integrated_beta(self.beta_min, self.beta_max, t))

    def sigma(self, t):
        return sqrt(-jnp.expm1(-integrated_beta(self.beta_min, self.beta_max, t)))

    def log_snr(self, t):
        total = integrated_beta(self.beta_min, self.beta_max, t)
        return -total - jnp.log(-jnp.expm1(-total))

    def time_at(self, log_snr):
        total = jax.nn.softplus(-wide(log_snr))
        return time_of_integrated_beta(self.beta_min, self.beta_max, total)

    def drift(self, t):
        """f of the forward SDE ``dx = f x dt + g dw``, shaped like t."""
        return -0.5 * self.diffusion_squared(t)

    def diffusion_squared(self, t):
        """g^2 of the forward SDE, shaped like t."""
        return self.beta_min + wide(t) * (self.beta_max - self.beta_min)


@pytree_dataclass
class Cosine(Schedule):
    """Cosine schedule, ``alpha = cos(pi/2 (t + s)/(1 + s)) / cos(pi/2 s/(1 + s))``, variance preserving.

    Args:
      s: offset that slows the start; 0 is the plain cosine, 0.008 the published value.

    >>> Cosine().sigma(1.0)
    Array(1., dtype=float32)

    Source: Nichol & Dhariwal 2021, eq. 17 (https://arxiv.org/abs/2102.09672).
    """

    s: NonNegative[Number] = 0.0

    def _angles(self, t):
        """``(start, gap, rest)``: the angle at t = 0, its increase up to t, and the remainder to pi/2."""
        t, quarter = wide(t), 0.5 * math.pi / (1.0 + self.s)
        return quarter * self.s, quarter * t, quarter * (1.0 - t)

    def alpha(self, t):
        start, _, rest = self._angles(t)
        return jnp.sin(rest) / jnp.cos(start)

    def sigma(self, t):
        start, gap, _ = self._angles(t)  # cos^2 a - cos^2 b = sin(b - a) sin(b + a)
        above_zero = jnp.maximum(gap, 1e-15)  # the derivative at t = 0 is finite without an offset
        ratio = jnp.sin(above_zero + 2.0 * start) / jnp.sin(above_zero)
        return jnp.sin(gap) * jnp.sqrt(ratio) / jnp.cos(start)

    def log_snr(self, t):
        start, gap, rest = self._angles(t)
        return 2.0 * jnp.log(jnp.sin(rest)) - jnp.log(jnp.sin(gap) * jnp.sin(gap + 2.0 * start))

    def time_at(self, log_snr):
        log_snr, start = wide(log_snr), self._angles(0.0)[0]
        noise = jax.nn.sigmoid(-log_snr) * jnp.square(jnp.cos(start))  # sin(gap) sin(gap + 2 start)
        signal = jnp.sqrt(jax.nn.sigmoid(log_snr)) * jnp.cos(start)  # cos of the angle at t
        angle = jnp.arctan2(jnp.sqrt(noise + jnp.square(jnp.sin(start))), signal)
        total = jnp.sin(angle + start)
        sine = noise / jnp.where(total > 0, total, 1.0)
        gap = jnp.arctan2(sine, jnp.cos(angle - start))
        return gap * (1.0 + self.s) / (0.5 * math.pi)

    def drift(self, t):
        """f of the forward SDE ``dx = f x dt + g dw``, shaped like t."""
        _, _, rest = self._angles(t)
        return -0.5 * math.pi / (1.0 + self.s) / jnp.tan(rest)

    def diffusion_squared(self, t):
        """g^2 of the forward SDE, shaped like t."""
        return -2.0 * self.drift(t)


@pytree_dataclass
class Sigmoid(VariancePreserving):
    """Sigmoid schedule: ``alpha^2`` is a sigmoid of ``-(start + t (end - start)) / tau``, rescaled to fall from 1 to 0.

    Args:
      start: argument at t = 0.
      end: argument at t = 1, > ``start``.
      tau: temperature; smaller is steeper.

    >>> Sigmoid().log_snr(0.5)
    Array(0., dtype=float32)

    Source: Jabri et al. 2022, sigmoid schedule (https://arxiv.org/abs/2212.11972); Chen 2023
    (https://arxiv.org/abs/2301.10972).
    """

    start: Finite[Number] = -3.0
    end: Number = 3.0
    tau: Positive[Number] = 1.0

    def __post_init__(self):
        check(lambda x: np.isfinite(x) & (x > self.start), f"finite and > start = {self.start}", end=self.end)

    def _half_width(self):
        return 0.5 * (jnp.asarray(self.end) - self.start) / self.tau

    def _log_odds(self):
        """``log(cosh(u(0)/2) / cosh(u(1)/2))`` with ``u = (start + t (end - start)) / tau``."""
        first, last = 0.5 * jnp.asarray(self.start) / self.tau, 0.5 * jnp.asarray(self.end) / self.tau
        return jnp.logaddexp(first, -first) - jnp.logaddexp(last, -last)

    def log_snr(self, t):
        half = self._half_width()

        def inner(t):  # log(sinh((1 - t) half) / sinh(t half)), without overflow
            past, rest = t * half, (1.0 - t) * half
            return rest - past + jnp.log(jnp.expm1(-2.0 * rest) / jnp.expm1(-2.0 * past)) + self._log_odds()

        return between_ends(inner, wide(t))

    def time_at(self, log_snr):
        half = self._half_width()
        log_odds = wide(log_snr) - self._log_odds()
        grown = half + jnp.log(-jnp.expm1(-2.0 * half)) - jnp.logaddexp(log_odds, -half)
        return jnp.minimum(jax.nn.softplus(grown) / (2.0 * half), 1.0)


@pytree_dataclass
class Laplace(VariancePreserving):
    """Laplace schedule: uniform times give a Laplace-distributed log-SNR; variance preserving.

    ``lambda(t) = mean - scale sign(1/2 - t) log(1 - 2 |t - 1/2|)``.

    Args:
      mean: log-SNR at t = 1/2, in nats.
      scale: width of the distribution, in nats.

    >>> Laplace(mean=1.0).log_snr(0.5)
    Array(1., dtype=float32)

    Source: Hang et al. 2024 (https://arxiv.org/abs/2407.03297).
    """

    mean: Finite[Number] = 0.0
    scale: Positive[Number] = 0.5

    def log_snr(self, t):
        def inner(t):
            early = t < 0.5
            tail = jnp.log(2.0 * jnp.where(early, t, 1.0 - t))
            return self.mean + self.scale * jnp.where(early, -tail, tail)

        return between_ends(inner, wide(t))

    def time_at(self, log_snr):
        z = (wide(log_snr) - self.mean) / self.scale
        tail = 0.5 * jnp.exp(-jnp.abs(z))
        return jnp.where(z > 0, tail, 1.0 - tail)

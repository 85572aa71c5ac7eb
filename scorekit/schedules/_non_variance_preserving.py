"""Schedules in closed form with ``alpha^2 + sigma^2 != 1``: sub-VP, variance exploding, EDM and rectified flow.

``drift`` and ``diffusion_squared`` are f and g^2 of the forward SDE, as in the variance-preserving family.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegative, Positive
from scorekit.checks import check
from scorekit.numerics import wide
from scorekit.schedules._variance_preserving import check_rates, integrated_beta, time_of_integrated_beta
from scorekit.trees import pytree_dataclass
from scorekit.typing import Number, Schedule


@pytree_dataclass
class SubVP(Schedule):
    """Sub-VP schedule: the signal of :class:`LinearVP` with the smaller noise ``sigma = 1 - exp(-B)``.

    Args:
      beta_min: rate at t = 0, per unit time.
      beta_max: rate at t = 1, >= ``beta_min``.

    >>> schedule = SubVP()
    >>> bool(schedule.alpha(0.5) ** 2 + schedule.sigma(0.5) ** 2 < 1.0)
    True

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456).
    """

    beta_min: Positive[Number] = 0.1
    beta_max: Number = 20.0

    def __post_init__(self):
        check_rates(self.beta_min, self.beta_max)

    def alpha(self, t):
        return jnp.exp(-0.5 * integrated_beta(self.beta_min, self.beta_max, t))

    def sigma(self, t):
        return -jnp.expm1(-integrated_beta(self.beta_min, self.beta_max, t))

    def log_snr(self, t):
        total = integrated_beta(self.beta_min, self.beta_max, t)
        return -total - 2.0 * jnp.log(-jnp.expm1(-total))

    def time_at(self, log_snr):
        total = 2.0 * jnp.arcsinh(0.5 * jnp.exp(-0.5 * wide(log_snr)))
        return time_of_integrated_beta(self.beta_min, self.beta_max, total)

    def drift(self, t):
        """f of the forward SDE ``dx = f x dt + g dw``, shaped like t."""
        return -0.5 * (self.beta_min + wide(t) * (self.beta_max - self.beta_min))

    def diffusion_squared(self, t):
        """g^2 of the forward SDE, shaped like t."""
        total = integrated_beta(self.beta_min, self.beta_max, t)
        return 2.0 * self.drift(t) * jnp.expm1(-2.0 * total)


def _check_above(sigma_min: Number, sigma_max: Number) -> None:
    check(lambda x: np.isfinite(x) & (x > sigma_min), f"finite and > sigma_min = {sigma_min}", sigma_max=sigma_max)


@pytree_dataclass
class GeometricVE(Schedule):
    """Variance-exploding schedule, ``alpha = 1``, ``sigma = sigma_min (sigma_max / sigma_min)^t``.

    Args:
      sigma_min: noise at t = 0, in units of the data.
      sigma_max: noise at t = 1, > ``sigma_min``.

    >>> GeometricVE(sigma_min=0.1, sigma_max=10.0).time_at(0.0)
    Array(0.5, dtype=float32)

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456).
    """

    sigma_min: Positive[Number] = 0.01
    sigma_max: Number = 50.0

    def __post_init__(self):
        _check_above(self.sigma_min, self.sigma_max)

    def _log_sigma(self, t):
        low, high = jnp.log(self.sigma_min), jnp.log(self.sigma_max)
        return low + wide(t) * (high - low)

    def alpha(self, t):
        return jnp.ones_like(wide(t))

    def sigma(self, t):
        return jnp.exp(self._log_sigma(t))

    def log_snr(self, t):
        return -2.0 * self._log_sigma(t)

    def time_at(self, log_snr):
        low, high = jnp.log(self.sigma_min), jnp.log(self.sigma_max)
        return (-0.5 * wide(log_snr) - low) / (high - low)

    def drift(self, t):
        """f of the forward SDE ``dx = f x dt + g dw``, shaped like t."""
        return jnp.zeros_like(wide(t))

    def diffusion_squared(self, t):
        """g^2 of the forward SDE, shaped like t."""
        rate = jnp.log(self.sigma_max) - jnp.log(self.sigma_min)
        return 2.0 * rate * jnp.exp(2.0 * self._log_sigma(t))


@pytree_dataclass
class EDM(Schedule):
    """EDM schedule: ``alpha = 1`` and ``sigma^(1/rho)`` linear in t, so that uniform times are the Karras grid.

    Args:
      sigma_min: noise at t = 0, in units of the data.
      sigma_max: noise at t = 1, > ``sigma_min``.
      rho: exponent; 1 gives a linear sigma, larger values spend more time at low noise.

    >>> EDM().sigma(1.0).round(3)
    Array(80., dtype=float32)

    Source: Karras et al. 2022, eq. 5 (https://arxiv.org/abs/2206.00364).
    """

    sigma_min: NonNegative[Number] = 0.002
    sigma_max: Number = 80.0
    rho: Positive[Number] = 7.0

    def __post_init__(self):
        _check_above(self.sigma_min, self.sigma_max)

    def _root(self, t):
        positive = jnp.asarray(self.sigma_min) > 0  # the power is not differentiable at sigma_min = 0
        low = jnp.where(positive, jnp.power(jnp.where(positive, self.sigma_min, 1.0), 1.0 / self.rho), 0.0)
        high = jnp.power(self.sigma_max, 1.0 / self.rho)
        return low + wide(t) * (high - low), high - low

    def alpha(self, t):
        return jnp.ones_like(wide(t))

    def sigma(self, t):
        return jnp.power(self._root(t)[0], self.rho)

    def log_snr(self, t):
        return -2.0 * self.rho * jnp.log(self._root(t)[0])

    def time_at(self, log_snr):
        low, width = self._root(0.0)
        return (jnp.exp(-0.5 * wide(log_snr) / self.rho) - low) / width

    def drift(self, t):
        """f of the forward SDE ``dx = f x dt + g dw``, shaped like t."""
        return jnp.zeros_like(wide(t))

    def diffusion_squared(self, t):
        """g^2 of the forward SDE, shaped like t."""
        root, width = self._root(t)
        return 2.0 * self.rho * width * jnp.power(root, 2.0 * self.rho - 1.0)


@pytree_dataclass
class RectifiedFlow(Schedule):
    """Linear interpolant, ``alpha = 1 - t``, ``sigma = t``.

    >>> RectifiedFlow().log_snr(0.5)
    Array(0., dtype=float32)

    Source: Liu et al. 2022 (https://arxiv.org/abs/2209.03003), Lipman et al. 2022 (https://arxiv.org/abs/2210.02747).
    """

    def alpha(self, t):
        return 1.0 - wide(t)

    def sigma(self, t):
        return wide(t)

    def log_snr(self, t):
        t = wide(t)
        return 2.0 * (jnp.log1p(-t) - jnp.log(t))

    def time_at(self, log_snr):
        return jax.nn.sigmoid(-0.5 * wide(log_snr))

    def drift(self, t):
        """f of the forward SDE ``dx = f x dt + g dw``, shaped like t."""
        return -1.0 / (1.0 - wide(t))

    def diffusion_squared(self, t):
        """g^2 of the forward SDE, shaped like t."""
        t = wide(t)
        return 2.0 * t / (1.0 - t)

"""Deterministic multistep solvers: one evaluation a step, a polynomial through the slopes of earlier steps.

All are first order on their first step and gain one order a step; a step to ``sigma = 0``, where an exponential form
does not exist, is first order (without it they are 10-30 times worse at 20 evaluations).

>>> solvers = AdamsBashforth(order=4), ExponentialAdamsBashforth(order=3), DPMSolverPP2M(), DPMSolverPP3M(), IPNDM()
>>> [(solver.order, solver.max_past) for solver in solvers]
[(4, 3), (3, 2), (2, 1), (2, 2), (4, 3)]
>>> linear_multistep().coordinate, deis(2).variable
('sigma', 't')
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import checked
from scorekit.numerics.coordinates import CoordinateName, FiniteAtZeroNoise
from scorekit.solvers._base import Order, Row, noise_levels
from scorekit.solvers._weights import (
    Multistep,
    available,
    first_order,
    gain,
    half_log_snr,
    log_snr_positions,
    published_third_order,
    with_history,
    with_slopes,
)
from scorekit.trees import pytree_dataclass, static


@pytree_dataclass
class AdamsBashforth(Multistep):
    """Adams-Bashforth with variable steps on the slope of a straightened coordinate: the default solver.

    ``x_s = (scale_s / scale_t) x_t + scale_s int p(clock) d(clock)``, p the polynomial through the last ``order``
    slopes. In "flow" and "angle" it starts at pure noise and ends at clean data without a special step. In "sigma" it
    is linear multistep (LMS, PLMS).

    Attributes:
      order: number of slopes in a step, this and earlier ones.
      coordinate: clock of the polynomial.

    Source: Hairer, Norsett & Wanner 1993, sec. III.5; Katherine Crowson's LMS sampler for "sigma".
    """

    order: Order = static(default=3)
    coordinate: FiniteAtZeroNoise = static(default="flow")


@checked
def linear_multistep(order: Order = 4) -> AdamsBashforth:
    """Linear multistep in ``sigma / alpha`` (LMS): :class:`AdamsBashforth` with ``coordinate="sigma"``.

    Args:
      order: number of slopes in a step, this and earlier ones.

    Source: Liu et al. 2022 (https://arxiv.org/abs/2202.09778); Katherine Crowson's LMS sampler.
    """
    return AdamsBashforth(order=order, coordinate="sigma")


@pytree_dataclass
class ExponentialAdamsBashforth(Multistep):
    """Exponential Adams-Bashforth: the linear part exactly, x0 or eps as a polynomial.

    ``x_s = (sigma_s / sigma_t) x_t + sigma_s int e^l p(l) dl`` for x0, or ``(alpha_s / alpha_t) x_t -
    alpha_s int e^-l p(l) dl`` for eps, with l half the log-SNR. For x0 this is the true third (fourth) order multistep
    DPM-Solver++; in eps and polynomial in t it is tAB-DEIS, in log-SNR the usual "DEIS" of other packages.

    Attributes:
      order: number of values in the polynomial, this and earlier ones.
      prediction: value that the polynomial goes through.
      variable: variable of the polynomial.

    Source: Zhang & Chen 2022 (https://arxiv.org/abs/2204.13902); Lu et al. 2022
    (https://arxiv.org/abs/2211.01095).
    """

    order: Order = static(default=3)
    prediction: Literal["x0", "eps"] = static(default="eps")
    variable: Literal["log_snr", "t"] = static(default="log_snr")

    @property
    def coordinate(self) -> CoordinateName:
        return "signal" if self.prediction == "x0" else "sigma"


@checked
def deis(order: Order = 3) -> ExponentialAdamsBashforth:
    """tAB-DEIS: exponential Adams-Bashforth in eps, polynomial in t.

    ``x_s = (alpha_s / alpha_t) x_t + alpha_s int p(t) d(sigma / alpha)``, p the polynomial in t through the last eps.

    Args:
      order: number of slopes in a step, this and earlier ones.

    Source: Zhang & Chen 2022 (https://arxiv.org/abs/2204.13902).
    """
    return ExponentialAdamsBashforth(order=order, prediction="eps", variable="t")


@pytree_dataclass
class DPMSolverPP2M(Multistep):
    """DPM-Solver++(2M): second order, exponential in log-SNR and linear in x0, as published.

    ``x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - e^-h) D`` with ``D = x0 + (h / 2 h_prev) (x0 - x0_prev)`` and ``h``
    half the growth of log-SNR.

    Source: Lu et al. 2022, alg. 2 (https://arxiv.org/abs/2211.01095).
    """

    order = 2
    coordinate = "signal"

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times, self.max_past)
        s, t = levels.at(0), levels.at(1)
        half, finite = half_log_snr(levels)
        h, h_prev = half[..., 0] - half[..., 1], half[..., 1] - half[..., 2]
        second = (jnp.asarray(num_past) > 0) & jnp.all(finite, axis=-1)
        r = jnp.where(second, 0.5 * h / jnp.where(second, h_prev, 1.0), 0.0)
        a, b = s.sigma / t.sigma, s.alpha - t.alpha * s.sigma / t.sigma  # b is alpha_s (1 - e^-h)
        return Row(t.t, x=a, x0=b * (1.0 + r), history=(-b * r,))  # a x_t + b D, D = x0 + r (x0 - x0_prev)


@pytree_dataclass
class DPMSolverPP3M(Multistep):
    """DPM-Solver++(3M) as implemented in other packages, which halve one term: second order.

    The true third order is ``ExponentialAdamsBashforth(order=3, prediction="x0")``. The published variant extrapolates
    less and can win at few steps.

    Source: k-diffusion and diffusers, ``dpmsolver++`` with ``solver_order=3``.
    """

    order = 2
    coordinate = "signal"

    @property
    def max_past(self) -> int:
        return 2

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times, self.max_past)
        s = levels.at(0)
        weights = published_third_order(*log_snr_positions(levels, num_past), s.alpha, 1.0)
        return with_history(first_order("signal", levels.at(1), s), "signal", weights)


# The weights of one to four slopes, minus the weights of the first-order step.
_ADAMS = np.array(
    [[0, 0, 0, 0], [1 / 2, -1 / 2, 0, 0], [11 / 12, -16 / 12, 5 / 12, 0], [31 / 24, -59 / 24, 37 / 24, -9 / 24]]
)


@pytree_dataclass
class IPNDM(Multistep):
    """iPNDM: Adams-Bashforth in eps with the coefficients of equal steps, also on other grids.

    ``x_s = (alpha_s / alpha_t) x_t + alpha_s (sigma_s/alpha_s - sigma_t/alpha_t) sum_j b_j eps_j``. It has its order on
    a grid uniform in sigma / alpha; on any other smooth grid it is second order.

    Attributes:
      order: number of eps in a step, this and earlier ones.

    Source: Zhang & Chen 2022 (https://arxiv.org/abs/2204.13902); Liu et al. 2022
    (https://arxiv.org/abs/2202.09778).
    """

    order: Order = static(default=4)
    coordinate = "sigma"

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times, self.max_past)
        s, t = levels.at(0), levels.at(1)
        usable = available(num_past, self.order) & (levels.alpha[..., 1:] > 0)
        table = jnp.asarray(_ADAMS[: self.order, : self.order], s.alpha.dtype)
        newest, *history = jnp.unstack(gain("sigma", t, s)[..., None] * table[jnp.sum(usable, -1) - 1], axis=-1)
        return with_slopes(first_order("sigma", t, s), "sigma", newest, tuple(history))

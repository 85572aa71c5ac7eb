"""Stochastic solvers of the reverse process whose step is one evaluation and one Gaussian.

>>> solvers = DPMSolverPP2MSDE(), DPMSolverPP3MSDE(), SASolver(steps=3)
>>> [(solver.order, solver.max_past) for solver in (Ancestral(), EulerMaruyama(), ReverseDiffusion(), *solvers)]
[(1, 0), (1, 0), (1, 0), (2, 1), (2, 2), (2, 2)]
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Fraction, NonNegative, checked
from scorekit.numerics import sqrt, sqrt_one_minus_square
from scorekit.numerics.coordinates import CoordinateName
from scorekit.process import diffusion_squared, drift
from scorekit.solvers._base import LinearSolver, Order, Row, noise_levels
from scorekit.solvers._weights import (
    Multistep,
    decay_of,
    exponential,
    half_log_snr,
    lagrange_weights,
    log_snr_positions,
    power,
    published_second_order,
    published_third_order,
    with_history,
)
from scorekit.solvers.ode import Euler
from scorekit.trees import is_traced, pytree_dataclass, static
from scorekit.typing import Number


@pytree_dataclass
class Ancestral(LinearSolver):
    """Samples the posterior ``q(x_s | x_t, x0)`` at the estimated x0: DDPM for eta = 1, DDIM(eta) in between.

    ``x_s = alpha_s x0 + sigma_s sqrt(1 - eta^2 d) eps + eta sigma_s sqrt(d) z`` with ``d = 1 - SNR_t / SNR_s``. No
    noise is added by a step to ``sigma = 0``. For a variance-exploding schedule this is SMLD's ancestral sampler.

    Attributes:
      eta: amount of fresh noise: 0 is the ODE, 1 the reverse SDE.

    Source: Ho et al. 2020, alg. 2 (https://arxiv.org/abs/2006.11239); Song et al. 2020, eq. 16
    (https://arxiv.org/abs/2010.02502).
    """

    eta: Fraction[Number] = 1.0
    stochastic = True

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        share = jnp.asarray(self.eta) * sqrt_one_minus_square(decay_of(t, s))
        return Row(t.t, x0=s.alpha, eps=s.sigma * sqrt_one_minus_square(share), std=s.sigma * share)


@checked
def ddim(eta: Fraction[Number] = 0.0) -> Euler | Ancestral:
    """DDIM(eta): :class:`~scorekit.solvers.Euler`, which draws nothing, for eta = 0, else :class:`Ancestral`.

    ``x_s = alpha_s x0 + sqrt(sigma_s^2 - std^2) eps + std z`` with the std of the posterior times eta.

    Args:
      eta: amount of fresh noise, 0 for the deterministic step and 1 for the ancestral one.

    Returns:
      The solver; :class:`Ancestral` for a traced eta.

    >>> ddim(0.0)
    Euler()

    Source: Song et al. 2020, eq. 16 (https://arxiv.org/abs/2010.02502).
    """
    if not is_traced(eta) and np.all(np.asarray(eta) == 0):
        return Euler()
    return Ancestral(eta=eta)


@pytree_dataclass
class EulerMaruyama(LinearSolver):
    """Euler-Maruyama on the plain reverse SDE ``dx = (f x - g^2 score) dt + g dw``, with t or log-SNR as the clock.

    ``x_s = x_t - f dt x_t - (g^2 dt / sigma_t) eps + sqrt(g^2 dt) z`` with f and g at t; in log-SNR, ``g^2 dt`` is
    ``sigma_t^2`` times the growth of log-SNR. In t it needs f and g finite on the grid but for its last time: start
    below t = 1 where alpha(1) = 0 (cosine, rectified flow). In log-SNR both times need a finite log-SNR; a step to
    ``sigma = 0`` returns the clean estimate. :class:`Ancestral` has no such limits.

    Attributes:
      clock: variable of the step.

    Source: Song et al. 2021, eq. 6 (https://arxiv.org/abs/2011.13456).
    """

    clock: Literal["t", "log_snr"] = static(default="t")
    stochastic = True

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        f, g2 = drift(schedule, t.t), diffusion_squared(schedule, t.t)
        if self.clock == "t":
            dt = t.t - s.t
            return Row(t.t, x=1.0 - dt * f, eps=-dt * g2 / t.sigma, std=jnp.sqrt(g2 * dt))
        half, finite = half_log_snr(levels)
        ends = finite[..., 0] & finite[..., 1]
        h = jnp.where(ends, half[..., 0] - half[..., 1], 0.0)
        return Row(
            t.t,
            x=jnp.where(ends, 1.0 - 2.0 * jnp.square(t.sigma) * h / g2 * f, 0.0),
            x0=jnp.where(ends, 0.0, s.alpha),
            eps=jnp.where(ends, -2.0 * t.sigma * h, s.sigma),
            std=t.sigma * sqrt(2.0 * h),
        )


@pytree_dataclass
class ReverseDiffusion(LinearSolver):
    """The reverse-diffusion predictor: the forward transition, reversed.

    With ``x_t = a x_s + b z`` forwards, ``x_s = (2 - a) x_t - (b^2 / sigma_t) eps + b z`` backwards. A step to
    ``sigma = 0`` returns the clean estimate, without noise.

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456).
    """

    stochastic = True

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        noisy, share = s.sigma > 0, sqrt_one_minus_square(decay_of(t, s))  # b is sigma_t share
        return Row(
            t.t,
            x=jnp.where(noisy, 2.0 - t.alpha / s.alpha, 0.0),
            x0=jnp.where(noisy, 0.0, s.alpha),
            eps=jnp.where(noisy, -t.sigma * jnp.square(share), 0.0),
            std=jnp.where(noisy, t.sigma * share, 0.0),
        )


class _ExponentialSDE(Multistep):
    """Exponential SDE solvers: x0 as a polynomial in log-SNR, the linear part exactly.

    ``x_s = (sigma_s / sigma_t) e^(-eta h) x_t + (1 + eta) alpha_s int e^(-(1 + eta) u) x0 du
    + sigma_s sqrt(1 - e^(-2 eta h)) z``, u half the log-SNR that remains.
    """

    stochastic = True
    coordinate: CoordinateName = "signal"
    eta: NonNegative[Number]

    def _history_weights(self, h, z, valid, gain, amplitude, rate):
        """The weights of the earlier values of x0, ``(..., m)``."""
        raise NotImplementedError

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times, self.max_past)
        s, t = levels.at(0), levels.at(1)
        decay = decay_of(t, s)
        fade = power(decay, self.eta)
        gain = s.alpha * (1.0 - decay * fade)
        row = Row(t.t, x=s.sigma / t.sigma * fade, x0=gain, std=s.sigma * sqrt_one_minus_square(fade))
        if not self.max_past:
            return row
        rate = 1.0 + jnp.asarray(self.eta)
        weights = self._history_weights(*log_snr_positions(levels, num_past), gain, rate * s.alpha, rate)
        return with_history(row, "signal", weights)


@pytree_dataclass
class DPMSolverPP2MSDE(_ExponentialSDE):
    """SDE-DPM-Solver++(2M), as published: two values of x0, combined as in (2M).

    ``x0 + (h / 2 h_prev)(x0 - x0_prev)`` in place of x0; for eta = 0 it is :class:`~scorekit.solvers.DPMSolverPP2M`.
    The order is the weak order on Gaussian data.

    Attributes:
      eta: amount of fresh noise: 0 is the ODE, 1 the reverse SDE.

    Source: Lu et al. 2022 (https://arxiv.org/abs/2211.01095).
    """

    eta: NonNegative[Number] = 1.0
    order = 2

    @property
    def max_past(self) -> int:
        return 1

    def _history_weights(self, h, z, valid, gain, amplitude, rate):
        return published_second_order(h, z, valid, gain)


@pytree_dataclass
class DPMSolverPP3MSDE(_ExponentialSDE):
    """DPM-Solver++(3M) SDE as implemented in other packages, with half the square term; :class:`SASolver` is exact.

    The order is the weak order on Gaussian data.

    Attributes:
      eta: amount of fresh noise: 0 is the ODE, 1 the reverse SDE.

    Source: k-diffusion, ``sample_dpmpp_3m_sde``.
    """

    eta: NonNegative[Number] = 1.0
    order = 2

    @property
    def max_past(self) -> int:
        return 2

    def _history_weights(self, h, z, valid, gain, amplitude, rate):
        return published_third_order(h, z, valid, amplitude, rate)


@pytree_dataclass
class SASolver(_ExponentialSDE):
    """Stochastic Adams, predictor form: an exponential solver of order ``steps`` in the noise scale.

    For small noise the error is ``O(h^steps)``, and so is the error of the mean of a linear problem for every eta; the
    order is the weak order on Gaussian data, at most 2. With eta = 0 it is
    ``ExponentialAdamsBashforth(order=steps, prediction="x0")``.

    Attributes:
      eta: amount of fresh noise: 0 is the ODE, 1 the reverse SDE (``tau^2`` of the paper).
      steps: number of values of x0 in the polynomial.

    Source: Xue et al. 2023 (https://arxiv.org/abs/2305.14267).
    """

    eta: NonNegative[Number] = 1.0
    steps: Order = static(default=2)

    @property
    def order(self) -> int:
        return min(self.steps, 2)

    @property
    def max_past(self) -> int:
        return self.steps - 1

    def _history_weights(self, h, z, valid, gain, amplitude, rate):
        nodes, kernel = exponential(z[..., 0], h, amplitude, rate)
        return lagrange_weights(kernel, nodes, z, jnp.insert(valid, 0, True, axis=-1))[..., 1:]

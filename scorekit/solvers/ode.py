"""Deterministic solvers of the probability-flow ODE.

With exact halves ``x_t = alpha_t x0 + sigma_t eps`` the ODE is straight in the coordinates where it is easiest:
``y = x / (alpha + sigma)`` against ``tau = sigma / (alpha + sigma)`` has ``dy/dtau = eps - x0`` for every schedule,
with ``tau`` in [0, 1] and nothing that diverges at either end (``"flow"``); ``y = x / alpha`` against
``tau = sigma / alpha`` has ``dy/dtau = eps`` (``"sigma"``, the coordinate of EDM, which needs ``alpha > 0``). Euler is
the same in all of them: DDIM.
"""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from scorekit.trees import combine, pytree_dataclass, static, where


@pytree_dataclass
class Euler:
    """First order: ``x_s = alpha_s x0 + sigma_s eps``; DDIM with eta = 0.

    >>> Euler().order
    1

    Source: Song et al. 2020, eq. 12 (https://arxiv.org/abs/2010.02502).
    """

    order: ClassVar[int] = 1
    evals_per_step: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def init(self, x):
        del x
        return ()

    def step(self, key, state, x_t, t, s, denoiser, schedule):
        del key
        x0, eps = denoiser(x_t, t)
        return combine((schedule.alpha(s), x0), (schedule.sigma(s), eps)), state


@pytree_dataclass
class Heun:
    """Second order, two evaluations: the trapezoidal rule in a straightened coordinate.

    ``y_s = y_t + (tau_s - tau_t) (u_t + u_s) / 2`` with ``u = dy/dtau``. A step that ends at ``sigma = 0`` stays first
    order, as does, in the "sigma" coordinate, one that starts at ``alpha = 0``.

    Attributes:
      coordinate: "flow" (finite at both ends, better at few steps) or "sigma" (EDM algorithm 1).

    >>> Heun().evals_per_step
    2

    Source: Karras et al. 2022, alg. 1 (https://arxiv.org/abs/2206.00364), in the coordinate of choice.
    """

    coordinate: Literal["flow", "sigma"] = static(default="flow")
    order: ClassVar[int] = 2
    evals_per_step: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def __post_init__(self):
        if self.coordinate not in ("flow", "sigma"):
            raise ValueError(f"coordinate must be 'flow' or 'sigma', got {self.coordinate!r}")

    def init(self, x):
        del x
        return ()

    def _scale(self, alpha, sigma):
        return alpha + sigma if self.coordinate == "flow" else alpha

    def step(self, key, state, x_t, t, s, denoiser, schedule):
        del key
        alpha_t, sigma_t = schedule.alpha(t), schedule.sigma(t)
        alpha, sigma = schedule.alpha(s), schedule.sigma(s)
        scale_t, scale = self._scale(alpha_t, sigma_t), self._scale(alpha, sigma)
        smooth = (sigma > 0) & (scale_t > 0)  # else the trapezoid does not exist and the step is Euler's
        x0, eps = denoiser(x_t, t)
        euler = combine((alpha, x0), (sigma, eps))
        # At sigma = 0 the slope need not exist: evaluate at t instead, and leave the result out.
        x0_s, eps_s = denoiser(where(sigma > 0, euler, x_t), jnp.where(sigma > 0, s, t))
        half = 0.5 * (sigma - scale * sigma_t / jnp.where(smooth, scale_t, 1.0))  # scale (tau_s - tau_t) / 2
        signal = half if self.coordinate == "flow" else 0.0  # dy/dtau = eps - x0, or eps
        heun = combine((1.0, euler), (-signal, x0_s), (half, eps_s), (signal, x0), (-half, eps))
        return where(smooth, heun, euler), state


@pytree_dataclass
class DPMSolverPP2M:
    """DPM-Solver++(2M): second order, one evaluation, exponential in log-SNR and linear in x0.

    ``x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - e^-h) D`` with ``D = x0 + (h / 2 h_prev) (x0 - x0_prev)`` and ``h``
    half the growth of log-SNR. The first step, and a step to ``sigma = 0``, are first order.

    >>> DPMSolverPP2M().order
    2

    Source: Lu et al. 2022, alg. 2 (https://arxiv.org/abs/2211.01095).
    """

    order: ClassVar[int] = 2
    evals_per_step: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def init(self, x):
        wide = jnp.promote_types(jnp.result_type(*jax.tree.leaves(x)), jnp.float32)
        return jax.tree.map(jnp.zeros_like, x), jnp.array(jnp.inf, wide)

    def step(self, key, state, x_t, t, s, denoiser, schedule):
        del key
        x0_prev, h_prev = state
        x0 = denoiser(x_t, t).x0
        alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
        alpha_t, ratio = schedule.alpha(t), sigma_s / schedule.sigma(t)
        decay = alpha_t * ratio / alpha_s  # e^-h
        finite = decay > 0  # else h is infinite: the step is first order
        h = -jnp.log(jnp.where(finite, decay, 1.0))
        extra = jnp.where(finite, 0.5 * h / h_prev, 0.0)
        gain = alpha_s - alpha_t * ratio  # alpha_s (1 - e^-h)
        x_s = combine((ratio, x_t), (gain * (1.0 + extra), x0), (-gain * extra, x0_prev))
        return x_s, (x0, jnp.where(finite, h, jnp.inf).astype(h_prev.dtype))

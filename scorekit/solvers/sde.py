"""Stochastic solvers of the reverse process."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from scorekit.process import diffusion_squared, drift, snr_drop
from scorekit.schedules.numerics import sqrt
from scorekit.solvers.ode import Euler
from scorekit.trees import check, combine, is_traced, normal_like, pytree_dataclass
from scorekit.typing import ArrayLike


@pytree_dataclass
class Ancestral:
    """Samples the posterior ``q(x_s | x_t, x0)`` at the estimated x0: DDPM for eta = 1, DDIM(eta) in between.

    ``x_s = alpha_s x0 + sigma_s sqrt(1 - eta^2 d) eps + eta sigma_s sqrt(d) z`` with ``d = 1 - SNR_t / SNR_s``. No
    noise is added by a step to ``sigma = 0``.

    Attributes:
      eta: share of fresh noise in [0, 1].

    >>> Ancestral().stochastic
    True

    Source: Ho et al. 2020, alg. 2 (https://arxiv.org/abs/2006.11239); Song et al. 2020, eq. 16
    (https://arxiv.org/abs/2010.02502).
    """

    eta: ArrayLike = 1.0
    order: ClassVar[int] = 1
    evals_per_step: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def init(self, x):
        del x
        return ()

    def step(self, key, state, x_t, t, s, denoiser, schedule):
        x0, eps = denoiser(x_t, t)
        drop, sigma = snr_drop(schedule, t, s), schedule.sigma(s)
        x_s = combine(
            (schedule.alpha(s), x0),
            (sigma * sqrt(1.0 - jnp.square(self.eta) * drop), eps),
            (sigma * self.eta * sqrt(drop), normal_like(key, x_t)),
        )
        return x_s, state


def ddim(eta: ArrayLike = 0.0) -> Euler | Ancestral:
    """DDIM(eta): :class:`~scorekit.solvers.Euler`, which draws nothing, for eta = 0, else :class:`Ancestral`.

    Raises:
      ValueError: if eta is outside [0, 1].

    >>> ddim(0.0)
    Euler()

    Source: Song et al. 2020, eq. 16 (https://arxiv.org/abs/2010.02502).
    """
    check(lambda x: (x >= 0) & (x <= 1), "in [0, 1]", eta=eta)
    if not is_traced(eta) and np.all(np.asarray(eta) == 0):
        return Euler()
    return Ancestral(eta=eta)


@pytree_dataclass
class EulerMaruyama:
    """Euler-Maruyama on the plain reverse SDE ``dx = (f x - g^2 score) dt + g dw``, in t.

    ``x_s = x_t - (t - s) (f x_t + (g^2 / sigma_t) eps) + g sqrt(t - s) z``, f and g at t. It needs f and g finite on
    the grid but for its last time: start below t = 1 where alpha(1) = 0 (cosine, rectified flow); :class:`Ancestral`
    has no such limit.

    >>> EulerMaruyama().order
    1

    Source: Song et al. 2021, eq. 6 (https://arxiv.org/abs/2011.13456).
    """

    order: ClassVar[int] = 1
    evals_per_step: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def init(self, x):
        del x
        return ()

    def step(self, key, state, x_t, t, s, denoiser, schedule):
        eps = denoiser(x_t, t).eps
        f, g2, dt = drift(schedule, t), diffusion_squared(schedule, t), t - s
        x_s = combine(
            (1.0 - dt * f, x_t),
            (-dt * g2 / schedule.sigma(t), eps),
            (jnp.sqrt(g2 * dt), normal_like(key, x_t)),
        )
        return x_s, state

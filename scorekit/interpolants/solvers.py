"""The stochastic solver of interpolants."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scorekit._numerics import wide
from scorekit.arguments import Fraction
from scorekit.interpolants.scales import Interpolant
from scorekit.solvers import SolverBase
from scorekit.trees import combine, normal_like, pytree_dataclass
from scorekit.typing import Array, ArrayLike

__all__ = ["BridgeAncestral"]


class _Step(NamedTuple):
    t: Array
    x0: Array
    x1: Array
    z: Array
    std: Array


@pytree_dataclass
class BridgeAncestral(SolverBase):
    """Draws from ``q(x_s | x_t, x0, x1)`` at the estimated ends: the posterior step of I2SB for eta = 1, DBIM below it.

    ``x_s = alpha_s x0 + beta_s x1 + gamma_s sqrt(1 - eta^2 d) z + eta gamma_s sqrt(d) w`` with fresh noise w and
    ``d = 1 - (beta_s / alpha_s) / (beta_t / alpha_t)``. In the limit of many steps it is the SDE backward in time of
    diffusion ``e = eta^2 gamma^2 (log beta / alpha)' / 2``, which is constant for a Brownian bridge, and for eta = 0
    the ODE. The first step from a time at which gamma is 0 takes eta = 1: there z is not known.

    :func:`scorekit.samplers.sample` takes the denoiser of ends in place of the denoiser, and the interpolant in place
    of the schedule.

    Attributes:
      eta: fraction of fresh noise.

    >>> from scorekit import interpolants, samplers
    >>> scales, x1 = interpolants.linear(noise=0.1), jnp.ones((2, 1))
    >>> denoiser = interpolants.paired_denoiser(lambda x, t: 0 * x - 1.0, scales, x1)
    >>> samplers.sample(jax.random.key(0), denoiser, scales, BridgeAncestral(), x1, [1.0, 0.5, 0.0]).tolist()
    [[-1.0], [-1.0]]

    Source: Liu et al. 2023 (https://arxiv.org/abs/2302.05872); Zheng et al. 2024 (https://arxiv.org/abs/2405.15885).
    """

    eta: Fraction = 1.0
    order = 1
    evals_per_step = 1
    stochastic = True

    def row(self, schedule: Interpolant, times: ArrayLike, num_past: ArrayLike) -> _Step:
        times = wide(times)
        s, t = times[..., 0], times[..., 1]
        alpha, beta, gamma = schedule.alpha(s), schedule.beta(s), schedule.gamma(s)
        before = schedule.beta(t) * alpha
        ratio = beta * schedule.alpha(t) / jnp.where(before > 0, before, 1.0)
        fresh = jnp.clip(1.0 - jnp.where(before > 0, ratio, 1.0), 0.0, 1.0)
        eta = jnp.where(schedule.gamma(t) > 0, jnp.asarray(self.eta), 1.0)
        noise = jnp.square(eta) * fresh
        return _Step(t, alpha, beta, gamma * jnp.sqrt(1.0 - noise), gamma * jnp.sqrt(noise))

    def step(self, key: Any, state, x_t, row: _Step, denoiser: Any):
        ends = denoiser(x_t, row.t)
        x_s = combine((row.x0, ends.x0), (row.x1, ends.x1), (row.z, ends.z), (row.std, normal_like(key, x_t)))
        return jax.tree.map(lambda a, b: jnp.asarray(a, jnp.result_type(b)), x_s, x_t), state

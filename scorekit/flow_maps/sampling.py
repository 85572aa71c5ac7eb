"""Sampling with a flow map: jumps along any grid, with or without fresh noise in between."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import Fraction, FractionBelowOne
from scorekit.numerics import sqrt_one_minus_square, wide
from scorekit.solvers import SolverBase, noise_levels
from scorekit.trees import combine, normal_like, pytree_dataclass
from scorekit.typing import Array, Number


class _Jump(NamedTuple):
    """Coefficients of a step: ``x_s = x0 x0 + eps eps + std z`` with the pair of the map from t to ``end``."""

    t: Array
    end: Array
    x0: Array
    eps: Array
    std: Array | None = None


@pytree_dataclass
class FlowMapSolver(SolverBase):
    """Jumps of a flow map; with ``gamma``, each goes below s and adds noise up to s.

    ``x_s = (alpha_s / alpha_e) X(x_t, t, e) + gamma sigma_s z``, with e the time whose noise-to-signal ratio is
    ``sqrt(1 - gamma^2)`` times the ratio of s. ``gamma = None`` is ``x_s = X(x_t, t, s)`` and draws nothing; 1 is
    multistep consistency sampling, which predicts the end of the path and adds noise; values in between correct part of
    the error of earlier jumps. With an exact map every step of every size is exact, so the order is 0.

    ``scorekit.samplers.sample`` takes the flow map in place of the denoiser.

    Attributes:
      gamma: the part of the noise at s that is fresh, or None.
      t_min: the end of the paths that the map was trained for.

    >>> from scorekit import densities, flow_maps, samplers, schedules
    >>> data, schedule = densities.gaussian(jnp.array([2.0]), std=0.5), schedules.Cosine()
    >>> flow_map = flow_maps.exact_map(data, schedule)
    >>> samplers.sample(flow_map, schedule, FlowMapSolver(), jnp.ones((1, 1)), [1.0, 0.0])
    Array([[2.5]], dtype=float32)

    Source: Kim et al. 2023, gamma-sampling (https://arxiv.org/abs/2310.02279).
    """

    gamma: Fraction[Number] | None = None
    t_min: FractionBelowOne[Number] = 0.0
    order = 0

    @property
    def stochastic(self) -> bool:
        return self.gamma is not None

    def row(self, schedule, times, num_past) -> _Jump:
        times = wide(times)
        s = noise_levels(schedule, times[..., 0])
        if self.gamma is None:
            return _Jump(times[..., 1], s.t, s.alpha, s.sigma)
        # the log-SNR is infinite at the end of a path, and the goal at gamma = 1
        part, last = jnp.asarray(self.gamma, s.t.dtype), s.t <= self.t_min
        inside = (part < 1) & ~last & jnp.isfinite(schedule.log_snr(s.t))
        kept = jnp.where(inside, (1.0 - part) * (1.0 + part), 1.0)
        goal = schedule.time_at(schedule.log_snr(jnp.where(inside, s.t, 0.5)) - jnp.log(kept))
        goal = jnp.where(part > 0, jnp.clip(jnp.where(inside, goal, 0.0), self.t_min, s.t), s.t)
        end = noise_levels(schedule, jnp.where(last, s.t, goal))
        scale = s.alpha / end.alpha
        noisy = ~last & (end.t < s.t)
        left = scale * end.sigma / jnp.where(noisy, s.sigma, 1.0)
        std = jnp.where(noisy, s.sigma * sqrt_one_minus_square(jnp.where(noisy, left, 1.0)), 0.0)
        return _Jump(times[..., 1], end.t, s.alpha, scale * end.sigma, std)

    def step(self, state, x_t, row: _Jump, denoiser: Any, *, key=None):
        pair = denoiser(x_t, row.t, row.end)
        x_s = combine((row.x0, pair.x0), (row.eps, pair.eps))
        x_s = jax.tree.map(lambda a, b: jnp.asarray(a, jnp.result_type(b)), x_s, x_t)
        if row.std is not None:
            x_s = combine((1.0, x_s), (row.std, normal_like(key, x_t)))
        return x_s, state

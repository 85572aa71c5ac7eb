"""Multistep sampling of consistency models: predict the end of the path, add noise, predict again."""

import jax.numpy as jnp

from scorekit.arguments import FractionBelowOne
from scorekit.numerics import sqrt_one_minus_square
from scorekit.solvers._base import LinearSolver, Row, noise_levels
from scorekit.trees import pytree_dataclass
from scorekit.typing import Number


@pytree_dataclass
class MultistepConsistency(LinearSolver):
    """Multistep sampling of consistency models and of other one-step students: predict the end, add noise up to s.

    ``x_s ~ q(x_s | f(x_t, t))`` with ``f = alpha_e x0 + sigma_e eps`` the end of the path at e = ``t_min`` (x0, where
    no noise is left there) and q the forward kernel. A step to ``t_min`` returns f: one step is one evaluation of the
    student.

    It does not discretise the reverse process, hence order 0: with an exact f any number of steps is exact; with the
    denoiser of a diffusion model, whose x0 is a mean and not a sample, no number of steps is.

    Attributes:
      t_min: end of the paths that the student was trained for, and of the grid.

    >>> MultistepConsistency().evals_per_step
    1

    Source: Song et al. 2023, alg. 1 (https://arxiv.org/abs/2303.01469).
    """

    t_min: FractionBelowOne[Number] = 0.0
    order = 0
    stochastic = True

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        s, end = levels.at(0), noise_levels(schedule, self.t_min)
        scale, clean = s.alpha / end.alpha, s.t <= end.t
        left = scale * end.sigma / jnp.where(clean, 1.0, s.sigma)  # the noise of f, as a fraction of the noise at s
        std = jnp.where(clean, 0.0, s.sigma * sqrt_one_minus_square(left))
        return Row(levels.t[..., 1], x0=s.alpha, eps=scale * end.sigma, std=std)

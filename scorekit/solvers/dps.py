"""Diffusion posterior sampling as published: a step of any solver, then a gradient step on the residual."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.arguments import NonNegative
from scorekit.numerics import sqrt, wide
from scorekit.solvers._base import WrappedSolver
from scorekit.trees import as_pytree, combine, pytree_dataclass, sum_per_example
from scorekit.typing import Number, PyTree, Solver


@pytree_dataclass
class DPS(WrappedSolver):
    """``x_s = step(x_t) - step_size grad_{x_t} |y - A(x0(x_t))|``: for any differentiable operator.

    The norm is taken of each example, not its square: the paper's step size is ``zeta' / |y - A(x0)|`` (up to a factor
    of 2). The step size does not depend on the length of the step: fewer steps need a larger one.
    :func:`scorekit.guidance.dps` is the same idea as a likelihood, without the normalisation.

    Costs the evaluations of ``base`` and one vector-Jacobian product a step.

    Attributes:
      operator: any differentiable function ``x0 -> y``; see :mod:`scorekit.guidance.operators`.
      observation: y, leaves ``(B, ...)``, or ``(...)`` for one of all examples.
      base: the solver whose step is corrected, with the residual at its first evaluation. The paper uses
        ``Ancestral()``.
      step_size: zeta', 0.1 to 1 in the paper for 1,000 steps; 0 is ``base`` alone.

    >>> from scorekit import denoisers, densities, samplers, schedules, solvers
    >>> schedule, ts = schedules.Cosine(), solvers.grids.uniform(50)
    >>> prior = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), std=1.0), schedule)
    >>> solver = DPS(operator=lambda x: x[:, :1], observation=jnp.ones((1, 1)), base=solvers.Euler(), step_size=0.1)
    >>> x = samplers.sample(prior, schedule, solver, jnp.zeros((1, 2)), ts)
    >>> float(abs(x[0, 0] - 1)) < 0.1, float(x[0, 1])
    (True, 0.0)

    Source: Chung et al. 2022 (https://arxiv.org/abs/2209.14687).
    """

    operator: Callable[[PyTree], PyTree]
    observation: PyTree
    base: Solver
    step_size: NonNegative[Number] = 1.0
    order = 1

    def __post_init__(self):
        object.__setattr__(self, "operator", as_pytree(self.operator))  # so that plain functions cross jit

    def row(self, schedule, times, num_past):
        return self.base.row(schedule, times, num_past)

    def plan(self, schedule, ts):
        return self.base.plan(schedule, ts)

    def step(self, state, x_t, row, denoiser, *, key=None):
        def residual(x):
            predictions = []

            def recorded(x, t):
                predictions.append(denoiser(x, t))
                return predictions[-1]

            stepped = self.base.step(state, x, row, recorded, key=key)
            predicted = self.operator(predictions[0].x0)
            observation = jax.tree.map(lambda y, like: jnp.broadcast_to(y, like.shape), self.observation, predicted)
            gap = combine((1.0, observation), (-1.0, predicted))
            return jnp.sum(sqrt(sum_per_example(jnp.square, gap))), stepped

        gradient, (x_s, state) = jax.grad(residual, has_aux=True)(x_t)
        return combine((1.0, x_s), (-wide(self.step_size), gradient)), state

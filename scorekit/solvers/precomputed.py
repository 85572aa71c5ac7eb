"""A solver whose numbers are given: the rows of another solver's plan, tuned or not."""

from typing import Any

import jax
import jax.numpy as jnp

from scorekit.solvers.base import Planned
from scorekit.trees import pytree_dataclass
from scorekit.typing import PyTree


@pytree_dataclass
class PrecomputedSolver(Planned):
    """Explicit rows run by the arithmetic of ``base``; made by :func:`tabled`.

    The numbers of step k are ``rows[k]``, whatever the times: the solver belongs to the grid and the schedule that it
    was made for.

    Attributes:
      rows: what ``base.plan(schedule, ts)`` returns, leaves ``(n, ...)``; all of them are leaves of the solver.
      base: the planned solver that made them.
    """

    rows: PyTree
    base: Any

    @property
    def steps(self) -> int:
        """The number of steps that there are rows for."""
        return jax.tree.leaves(self.rows)[0].shape[0]

    @property
    def order(self) -> int:
        return self.base.order

    @property
    def evals_per_step(self) -> int:
        return self.base.evals_per_step

    @property
    def stochastic(self) -> bool:
        return self.base.stochastic

    def plan(self, schedule, ts):
        del schedule
        if jnp.shape(ts)[0] != self.steps + 1:
            allowed = f"{self.steps + 1} times, for the {self.steps} steps of this table"
            raise ValueError(f"ts must have {allowed}, got {jnp.shape(ts)[0]}")
        return self.rows

    def start(self, x):
        return self.base.start(x)

    def advance(self, key, carry, x_t, row, denoiser):
        return self.base.advance(key, carry, x_t, row, denoiser)

    def init(self, x):
        return jnp.array(0), self.start(x)

    def step(self, key, state, x_t, t, s, denoiser, schedule):
        del t, s, schedule
        k, carry = state
        row = jax.tree.map(lambda leaf: leaf[k], self.rows)
        x_s, carry = self.advance(key, carry, x_t, row, denoiser)
        return x_s, (k + 1, carry)


def precomputed(solver: Planned, schedule, ts) -> PrecomputedSolver:
    """The solver with its numbers for one grid written out, so that they can be changed, saved or differentiated.

    Args:
      solver: any planned solver of this library.
      schedule: the noise schedule.
      ts: decreasing times ``(n + 1,)``.

    Raises:
      ValueError: for a solver that makes no plan.

    >>> from scorekit import schedules, solvers
    >>> solver = precomputed(solvers.Euler(), schedules.rectified_flow(), jnp.array([1.0, 0.5, 0.0]))
    >>> solver.rows.x0
    Array([0.5, 1. ], dtype=float32)
    """
    if not isinstance(solver, Planned):
        raise ValueError(f"solver must be a planned solver of this library, got {type(solver).__name__}")
    return PrecomputedSolver(rows=solver.plan(schedule, ts), base=solver)

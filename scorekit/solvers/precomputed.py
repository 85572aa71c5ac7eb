"""A solver with given coefficients: the rows of another solver's plan, tuned or not.

>>> from scorekit import schedules, solvers
>>> solver: PrecomputedSolver = precomputed(solvers.Euler(), schedules.RectifiedFlow(), jnp.array([1.0, 0.5, 0.0]))
>>> solver.rows.x0, solver.steps
(Array([0.5, 1. ], dtype=float32), 2)
"""

import jax
import jax.numpy as jnp

from scorekit.arguments import checked
from scorekit.numerics.grids import check_grid
from scorekit.solvers._base import WrappedSolver
from scorekit.trees import pytree_dataclass
from scorekit.typing import ArrayLike, PyTree, Schedule, Solver


@pytree_dataclass
class PrecomputedSolver(WrappedSolver):
    """The arithmetic of ``base`` with explicit coefficients; built by :func:`precomputed`.

    Step k uses ``rows[k]`` at any times: the solver belongs to the grid and the schedule that it was made for.

    Attributes:
      rows: the result of ``base.plan(schedule, ts)``, leaves ``(n, ...)``; all of them are leaves of the solver.
      base: the solver that made them.
    """

    rows: PyTree
    base: Solver

    @property
    def steps(self) -> int:
        """Number of steps."""
        return jax.tree.leaves(self.rows)[0].shape[0]

    def row(self, schedule, times, num_past):
        raise ValueError(
            "solver must compute its coefficients for single steps, got a PrecomputedSolver, whose coefficients belong "
            "to a whole grid: use its plan, or its base"
        )

    def plan(self, schedule, ts):
        del schedule
        if jnp.shape(ts)[0] != self.steps + 1:
            allowed = f"{self.steps + 1} times, for the {self.steps} steps of this solver"
            raise ValueError(f"ts must have {allowed}, got {jnp.shape(ts)[0]}")
        return self.rows


@checked
def precomputed(solver: Solver, schedule: Schedule, ts: ArrayLike) -> PrecomputedSolver:
    """The solver with its coefficients for one grid as leaves, which can be changed, saved or differentiated.

    Args:
      solver: any solver.
      schedule: the noise schedule.
      ts: decreasing times ``(n + 1,)``, the grid that the result belongs to.
    """
    return PrecomputedSolver(rows=solver.plan(schedule, check_grid(ts)), base=solver)

"""The rows of solvers whose steps are Gaussian."""

from typing import Any

from scorekit.typing import ArrayLike, Schedule


def gaussian_rows(solver: Any, schedule: Schedule, ts: ArrayLike) -> Any:
    """The rows of a solver whose steps are ``N(solver.mean(...)[0], row.std^2)``.

    >>> from scorekit import schedules, solvers
    >>> gaussian_rows(solvers.Ancestral(), schedules.RectifiedFlow(), [0.5, 0.0]).std
    Array([0.], dtype=float32)
    """
    name = type(solver).__name__
    if not solver.stochastic:
        raise ValueError(f"solver must be stochastic, got the deterministic {name}")
    known = "(Ancestral, EulerMaruyama, ReverseDiffusion, DPMSolverPP2MSDE, DPMSolverPP3MSDE, SASolver)"
    if not hasattr(solver, "mean"):
        raise ValueError(f"solver must take steps of one Gaussian {known}, got {name}, which has no method mean")
    rows = solver.plan(schedule, ts)
    if getattr(rows, "std", None) is None:
        raise ValueError(f"solver must take steps of one Gaussian {known}, got {name}, whose row has no std")
    return rows

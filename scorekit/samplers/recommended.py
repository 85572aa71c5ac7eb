"""The solver and the time grid to begin with, by the number of network evaluations."""

from scorekit.checks import check_count
from scorekit.solvers import AdamsBashforth, DPMSolverPP2MSDE, UniPC, grids
from scorekit.typing import Array, ArrayLike, Schedule, Solver

__all__ = ["recommended"]

_POWER = 2.5  # of the grid, for the deterministic solvers
_DETERMINISTIC = {
    1: AdamsBashforth(order=3, coordinate="angle"),
    6: UniPC(predictor=2, coordinate="flow"),
    10: UniPC(predictor=3, coordinate="flow"),
}
"""The solver from so many steps on."""


def recommended(
    schedule: Schedule,
    steps: int,
    *,
    stochastic: bool = False,
    t_max: ArrayLike = 1.0,
    t_min: ArrayLike = 0.0,
) -> tuple[Solver, Array]:
    """The pair of solver and time grid that is best or nearly so with ``steps`` evaluations of the network.

    Each pair needs one evaluation a step. Chosen for 4 to 100 steps, by the error of exact denoisers and of a trained
    network (``experiments.benchmarks.quality``); other numbers take the nearest of these.

    Args:
      schedule: the schedule of the network.
      steps: number of steps, at least 1.
      stochastic: a solver that adds noise, which forgets the errors of earlier steps and needs more of them.
      t_max: the first time: below 1 (say 0.999) for a network that predicts eps or the score, where ``alpha(1) = 0``.
      t_min: the last time.

    Returns:
      ``(solver, ts)``, as :func:`scorekit.samplers.sample` takes them.

    Raises:
      ValueError: for ``steps < 1`` or times in the wrong order.

    >>> from scorekit.schedules import cosine
    >>> solver, ts = recommended(cosine(), 25)
    >>> solver, ts.shape
    (UniPC(predictor=3, coordinate='flow'), (26,))
    """
    check_count(steps=steps)
    if stochastic:
        return DPMSolverPP2MSDE(), grids.vp_quadratic(schedule, steps, t_max, t_min)
    solver = _DETERMINISTIC[max(first for first in _DETERMINISTIC if first <= steps)]
    return solver, grids.vp_quadratic(schedule, steps, t_max, t_min, power=_POWER)

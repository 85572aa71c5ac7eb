"""The solver and the time grid to begin with, by the number of network evaluations."""

import numpy as np

from scorekit.checks import check_count, check_positive, check_scalar
from scorekit.samplers._few_steps_table import TABLE
from scorekit.samplers._tabulated import encloses
from scorekit.samplers.few_steps import few_steps
from scorekit.solvers import AdamsBashforth, DPMSolverPP2MSDE, UniPC, grids
from scorekit.trees import is_traced
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
    sigma_data: ArrayLike = 1.0,
    tabulated: bool = True,
) -> tuple[Solver, Array]:
    """The pair of solver and time grid that is best or nearly so with ``steps`` evaluations of the network.

    Each pair needs one evaluation a step. With 5, 6, 7, 8, 10, 12, 15 or 20 of them it is
    :func:`scorekit.samplers.few_steps`, whose solver belongs to its grid; otherwise, and with ``tabulated=False``, a
    solver for any grid, on ``vp_quadratic``, chosen for 4 to 100 steps by the error of exact denoisers and of a
    trained network (``experiments.benchmarks.quality``); other numbers take the nearest of these.

    Args:
      schedule: the schedule of the network.
      steps: number of steps, at least 1.
      stochastic: a solver that adds noise, which forgets the errors of earlier steps and needs more of them.
      t_max: the first time: below 1 (say 0.999) for a network that predicts eps or the score, where ``alpha(1) = 0``.
      t_min: the last time.
      sigma_data: standard deviation of the data around 0, for the tabulated pairs; 0.5 for many images in [-1, 1].
      tabulated: False for a solver that also takes single steps, other grids and the way back to noise. Times that
        do not enclose the tabulated ones, or traced ones, have the same effect.

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
    check_scalar(sigma_data=sigma_data)
    check_positive(sigma_data=sigma_data)
    if stochastic:
        return DPMSolverPP2MSDE(), grids.vp_quadratic(schedule, steps, t_max, t_min)
    if tabulated and _fits(schedule, steps, t_max, t_min, sigma_data):
        return few_steps(schedule, steps, t_max, t_min, sigma_data=sigma_data)
    solver = _DETERMINISTIC[max(first for first in _DETERMINISTIC if first <= steps)]
    return solver, grids.vp_quadratic(schedule, steps, t_max, t_min, power=_POWER)


def _fits(schedule: Schedule, steps: int, t_max: ArrayLike, t_min: ArrayLike, sigma_data: ArrayLike) -> bool:
    """Whether there is a table of so many steps that lies between these times; of traced values only 1 and 0 do."""
    if steps not in TABLE:
        return False
    fits = encloses(schedule, steps, t_max, t_min, sigma_data)
    if not is_traced(fits):
        return bool(fits)
    return not (is_traced(t_max) or is_traced(t_min)) and bool(np.asarray(t_max) == 1 and np.asarray(t_min) == 0)

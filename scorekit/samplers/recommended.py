"""The solver and the time grid to begin with, by the number of network evaluations."""

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check_positive
from scorekit.samplers._few_steps_table import TABLE
from scorekit.samplers.few_steps import few_steps
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
_MOST_TABULATED = 12  # steps; with more the tabulated pair is no better


@checked
def recommended(
    schedule: Schedule,
    steps: PositiveInt,
    *,
    stochastic: bool = False,
    sigma_data: ArrayLike | None = None,
    t_max: ArrayLike = 1.0,
    t_min: ArrayLike = 0.0,
) -> tuple[Solver, Array]:
    """The pair of solver and time grid that is best or nearly so with ``steps`` evaluations of the network.

    Each pair needs one evaluation a step. Chosen for 4 to 100 steps, by the error of exact denoisers and of a trained
    network (``experiments.benchmarks.quality``); other numbers take the nearest of these.

    Args:
      schedule: the schedule of the network.
      steps: number of steps.
      stochastic: a solver that adds noise, which forgets the errors of earlier steps and needs more of them.
      sigma_data: standard deviation of the data around 0, if it is known and sampling is not guided: with 5, 6, 7, 8,
        10 or 12 steps the pair of :func:`few_steps`, better by 1.5 to 2.5 on mixtures, whose solver needs its own grid.
      t_max: the first time: below 1 (say 0.999) for a network that predicts eps or the score, where ``alpha(1) = 0``.
      t_min: the last time.

    Returns:
      ``(solver, ts)``, as :func:`scorekit.samplers.sample` takes them.

    Raises:
      ValueError: for ``steps < 1``, times in the wrong order or, of the tabulated pair, too near each other,
        ``sigma_data <= 0`` or with ``stochastic``.

    >>> from scorekit.schedules import cosine
    >>> solver, ts = recommended(cosine(), 25)
    >>> solver, ts.shape
    (UniPC(predictor=3, coordinate='flow'), (26,))
    >>> recommended(cosine(), 8, sigma_data=0.5)[0]
    FewSteps(sigma_data=0.5)
    """
    if sigma_data is not None:
        check_positive(sigma_data=sigma_data)
        if stochastic:
            raise ValueError(f"sigma_data must be left out of a stochastic pair, got {sigma_data}")
        if steps <= _MOST_TABULATED and steps in TABLE:
            return few_steps(schedule, steps, t_max, t_min, sigma_data=sigma_data)
    if stochastic:
        return DPMSolverPP2MSDE(), grids.vp_quadratic(schedule, steps, t_max, t_min)
    solver = _DETERMINISTIC[max(first for first in _DETERMINISTIC if first <= steps)]
    return solver, grids.vp_quadratic(schedule, steps, t_max, t_min, power=_POWER)

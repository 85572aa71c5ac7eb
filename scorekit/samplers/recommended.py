"""The solver and the time grid to begin with, by the number of network evaluations."""

from typing import Any, cast

import jax.numpy as jnp

from scorekit.arguments import Fraction, Positive, PositiveInt, checked
from scorekit.predictions import Target, TargetName, as_target
from scorekit.samplers._tabulated import GuidanceScale, counts
from scorekit.samplers.few_steps import few_steps
from scorekit.solvers import AdamsBashforth, DPMSolverPP2MSDE, UniPC, grids
from scorekit.typing import Array, Number, Schedule, Solver

_POWER = 2.5  # of the grid, for the deterministic solvers
_DETERMINISTIC = {
    1: AdamsBashforth(order=3, coordinate="angle"),
    6: UniPC(predictor=2, coordinate="flow"),
    10: UniPC(predictor=3, coordinate="flow"),
}
"""The solver from so many steps on."""


@checked
def recommended(
    schedule: Schedule,
    steps: PositiveInt,
    *,
    stochastic: bool = False,
    sigma_data: Positive[Number] | None = None,
    guidance_scale: GuidanceScale | None = None,
    target: TargetName | Target | None = None,
    t_max: Fraction[Number] = 1.0,
    t_min: Fraction[Number] = 0.0,
) -> tuple[Solver, Array]:
    """The pair of solver and time grid that is best or nearly so with ``steps`` evaluations of the network.

    Each pair needs one evaluation a step. Chosen for 4 to 100 steps, by the error of exact denoisers and of a trained
    network (``experiments.benchmarks.quality``); other numbers take the nearest of these.

    Args:
      schedule: the schedule of the network.
      steps: number of steps.
      stochastic: a solver that adds noise, which forgets the errors of earlier steps and needs more of them.
      sigma_data: standard deviation of the data around 0, if it is known. With 4 to 8, 10, 12, 14, 15, 16, 18, 20 or 24
        steps it selects the pair of :func:`few_steps`, whose solver needs its own grid. The RMSE without
        sigma_data is 0.3 to 4.8 times as large on mixtures (median 1.6) and 0.3 to 3.2 times on a Gaussian.
      guidance_scale: gamma of guided sampling, from 1 to 8: with sigma_data and 5, 6, 8, 10, 12, 16 or 20 steps the
        guided :func:`few_steps`; otherwise the same pair as without sigma_data.
      target: the target of the network; the grid begins where it is defined, for "eps" and "score" at 0.999 if
        alpha is 0 at ``t_max``. None for any target that is defined at ``t_max``, such as x0, v and velocity.
      t_max: the first time.
      t_min: the last time.

    Returns:
      ``(solver, ts)``, as :func:`scorekit.samplers.sample` takes them.

    Raises:
      ValueError: for times in the wrong order or, of the tabulated pair, too near each other.

    >>> from scorekit.schedules import Cosine
    >>> solver, ts = recommended(Cosine(), 25)
    >>> solver, ts.shape
    (UniPC(predictor=3, coordinate='flow'), (26,))
    >>> recommended(Cosine(), 8, sigma_data=0.5)[0]
    FewSteps(sigma_data=0.5, guidance_scale=None)
    >>> [f"{recommended(Cosine(), 8, target=target)[1][0]:.3f}" for target in ("v", "eps")]
    ['1.000', '0.999']
    """
    kind = None if target is None else as_target(target)
    if sigma_data is not None:
        if stochastic:
            raise ValueError(f"sigma_data must be left out of a stochastic pair, got {sigma_data}")
        if steps in counts(guidance_scale):
            numbers = {"t_max": t_max, "t_min": t_min, "sigma_data": sigma_data, "guidance_scale": guidance_scale}
            return few_steps(schedule, steps, **cast(dict[str, Any], numbers))
    if kind is not None:
        t_max = _defined_from(kind, schedule, t_max)
    if stochastic:
        return DPMSolverPP2MSDE(), grids.vp_quadratic(schedule, steps, t_max, t_min)
    solver = _DETERMINISTIC[max(first for first in _DETERMINISTIC if first <= steps)]
    return solver, grids.vp_quadratic(schedule, steps, t_max, t_min, power=_POWER)


def _defined_from(target: Target, schedule: Schedule, t_max: Fraction[Number]) -> Array:
    """``t_max``, or where the target does not give the pair ``(x0, eps)`` there, at most 0.999."""
    one = jnp.ones(())
    pair = target.to_prediction(one, one, jnp.asarray(t_max), schedule)
    return jnp.where(jnp.isfinite(pair.x0) & jnp.isfinite(pair.eps), t_max, jnp.minimum(t_max, 0.999))

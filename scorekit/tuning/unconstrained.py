"""Time grids and step numbers as free parameters: any values of them give a valid grid, so that Adam may roam.

A level is held as the clock of the "flow" coordinate, ``sigma / (alpha + sigma)``, which is finite at both ends of
every schedule. Its gaps are a softmax: the grid stays strictly decreasing between its ends.
"""

import jax
import jax.numpy as jnp

from scorekit.schedules.numerics import as_time
from scorekit.solvers.base import Planned
from scorekit.solvers.precomputed import PrecomputedSolver
from scorekit.trees import check
from scorekit.typing import Array, ArrayLike, PyTree, Schedule

_LEAST = 1e-5  # of the whole range, so that float32 keeps two levels apart
_REACH = 0.1  # what a parameter of 1 changes a step number by, relative


def grid_to_logits(schedule: Schedule, ts: ArrayLike, t_max: ArrayLike | None = None) -> Array:
    """The parameters of a grid: centred logarithms of its gaps, ``(n,)``.

    With ``t_max`` the first level is free as well, between it and the second: ``(n + 1,)`` values.

    >>> from scorekit.schedules import rectified_flow
    >>> grid_to_logits(rectified_flow(), jnp.array([1.0, 0.5, 0.0]))
    Array([0., 0.], dtype=float32)
    """
    signal, noise = _clocks(schedule, ts)
    # of the two complementary clocks the smaller one is exact
    gaps = jnp.where(noise[1:] > 0.5, jnp.diff(signal), -jnp.diff(noise))
    if t_max is not None:  # a grid that starts at t_max gets a small gap that can grow
        head = signal[:1] - _clocks(schedule, t_max)[0]
        gaps = jnp.concatenate([jnp.maximum(head, 0.1 * gaps[:1]), gaps])
    logs = jnp.log(jnp.maximum(gaps, _LEAST * (jnp.sum(gaps))))
    return logs - jnp.mean(logs)


def logits_to_grid(
    schedule: Schedule, gaps: Array, t_max: ArrayLike, t_min: ArrayLike, *, free_start: bool = False
) -> Array:
    """The grid of these parameters from ``t_max`` (with ``free_start``: from a level below it) to ``t_min``.

    >>> from scorekit.schedules import rectified_flow
    >>> logits_to_grid(rectified_flow(), jnp.zeros(2), 1.0, 0.0)
    Array([1. , 0.5, 0. ], dtype=float32)
    """
    top, _ = _clocks(schedule, t_max)
    end, bottom = _clocks(schedule, t_min)
    share = _LEAST + (1.0 - _LEAST * gaps.shape[0]) * jax.nn.softmax(gaps)
    signal = top + (end - top) * jnp.cumsum(share)[:-1]
    noise = bottom + (end - top) * jnp.cumsum(share[::-1])[::-1][1:]
    inner = schedule.time_at(2.0 * (jnp.log(signal) - jnp.log(noise)))
    ends = as_time(t_max)[None], as_time(t_min)[None]
    return jnp.concatenate([inner, ends[1]] if free_start else [ends[0], inner, ends[1]])


def zero_adjustments(solver: Planned, schedule: Schedule, ts: ArrayLike) -> PyTree:
    """The parameters of a solver's numbers on a grid, all 0: no change.

    >>> from scorekit import schedules, solvers
    >>> zero_adjustments(solvers.Euler(), schedules.rectified_flow(), jnp.array([1.0, 0.5, 0.0])).x0
    Array([0., 0.], dtype=float32)
    """
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, float), solver.plan(schedule, ts))


def changed(solver: Planned, schedule: Schedule, ts: ArrayLike, changes: PyTree) -> PrecomputedSolver:
    """The solver with ``number + scale change`` in place of every number of its plan but the times.

    ``scale`` is a tenth of the number's size, or a hundredth of the largest of its kind (at most 1) if that is more.

    >>> from scorekit import schedules, solvers
    >>> schedule, ts = schedules.rectified_flow(), jnp.array([1.0, 0.5, 0.0])
    >>> changed(solvers.Euler(), schedule, ts, zero_adjustments(solvers.Euler(), schedule, ts)).rows.x0
    Array([0.5, 1. ], dtype=float32)
    """

    def leaf(path, number, change):
        is_time = jax.tree_util.keystr(path[-1:], simple=True) == "t"
        if is_time or not jnp.issubdtype(number.dtype, jnp.floating):
            return number
        size = jnp.abs(number)
        size = jnp.maximum(size, _REACH * jnp.minimum(jnp.max(size), 1.0))
        return number + _REACH * jax.lax.stop_gradient(size) * change

    return PrecomputedSolver(
        rows=jax.tree_util.tree_map_with_path(leaf, solver.plan(schedule, ts), changes), base=solver
    )


def check_levels(schedule: Schedule, ts: ArrayLike, name: str) -> None:
    """Raises a ``ValueError`` for a grid whose noise does not decrease at every step."""
    check(lambda t: jnp.all(jnp.diff(t) < 0), "strictly decreasing", **{name: ts})
    check(lambda x: jnp.all(jnp.diff(x) < 0), "of decreasing noise level", **{name: _clocks(schedule, ts)[1]})


def _clocks(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
    """``alpha / (alpha + sigma)`` and ``sigma / (alpha + sigma)``."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return alpha / (alpha + sigma), sigma / (alpha + sigma)

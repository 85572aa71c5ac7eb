"""Unconstrained parameters of time grids and coefficients: every value of them is a valid grid.

A noise level is represented by the clock of the "flow" coordinate, ``sigma / (alpha + sigma)``, which is finite at both
ends of every schedule. The gaps of a grid are a softmax: it stays strictly decreasing between its ends.
"""

import jax
import jax.numpy as jnp

from scorekit.checks import check
from scorekit.numerics import wide
from scorekit.solvers.precomputed import PrecomputedSolver
from scorekit.typing import Array, ArrayLike, PyTree, Schedule, Solver

_MIN_GAP = 1e-5  # as a share of the full range, so that float32 separates two noise levels
_ADJUSTMENT = 0.1  # relative change of a coefficient by a parameter of 1


def grid_to_logits(schedule: Schedule, ts: ArrayLike, t_max: ArrayLike | None = None) -> Array:
    """The free parameters of a grid: centred logarithms of its gaps, ``(n,)``.

    With ``t_max`` the first noise level is free as well, between ``t_max`` and the second: ``(n + 1,)`` values.
    """
    signal, noise = _clocks(schedule, ts)
    # of the two complementary clocks the smaller one is exact
    gaps = jnp.where(noise[1:] > 0.5, jnp.diff(signal), -jnp.diff(noise))
    if t_max is not None:  # a grid that starts at t_max gets a small gap that can grow
        head = signal[:1] - _clocks(schedule, t_max)[0]
        gaps = jnp.concatenate([jnp.maximum(head, 0.1 * gaps[:1]), gaps])
    logs = jnp.log(jnp.maximum(gaps, _MIN_GAP * (jnp.sum(gaps))))
    return logs - jnp.mean(logs)


def logits_to_grid(
    schedule: Schedule, logits: Array, t_max: ArrayLike, t_min: ArrayLike, *, free_start: bool = False
) -> Array:
    """The grid of these parameters from ``t_max`` (with ``free_start``: from a lower noise level) to ``t_min``."""
    top, _ = _clocks(schedule, t_max)
    end, bottom = _clocks(schedule, t_min)
    share = _MIN_GAP + (1.0 - _MIN_GAP * logits.shape[0]) * jax.nn.softmax(logits)
    signal = top + (end - top) * jnp.cumsum(share)[:-1]
    noise = bottom + (end - top) * jnp.cumsum(share[::-1])[::-1][1:]
    inner = schedule.time_at(2.0 * (jnp.log(signal) - jnp.log(noise)))
    ends = wide(t_max)[None], wide(t_min)[None]
    return jnp.concatenate([inner, ends[1]] if free_start else [ends[0], inner, ends[1]])


def zero_adjustments(solver: Solver, schedule: Schedule, ts: ArrayLike) -> PyTree:
    """The free parameters of a solver's coefficients on a grid, all 0: no change."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, float), solver.plan(schedule, ts))


def adjusted(solver: Solver, schedule: Schedule, ts: ArrayLike, adjustments: PyTree) -> PrecomputedSolver:
    """The solver with ``coefficient + scale adjustment`` in place of every coefficient of its plan but the times.

    ``scale`` is a tenth of the coefficient's size, or a hundredth of the largest of its column (at most 1) if larger.
    """

    def leaf(path, value, adjustment):
        is_time = jax.tree_util.keystr(path[-1:], simple=True) == "t"
        if is_time or not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        size = jnp.abs(value)
        size = jnp.maximum(size, _ADJUSTMENT * jnp.minimum(jnp.max(size), 1.0))
        return value + _ADJUSTMENT * jax.lax.stop_gradient(size) * adjustment

    return PrecomputedSolver(
        rows=jax.tree_util.tree_map_with_path(leaf, solver.plan(schedule, ts), adjustments), base=solver
    )


def check_decreasing(schedule: Schedule, ts: ArrayLike, name: str) -> None:
    """Raises a ``ValueError`` for a grid whose noise does not decrease at every step."""
    check(lambda t: jnp.all(jnp.diff(t) < 0), "strictly decreasing", **{name: ts})
    check(lambda x: jnp.all(jnp.diff(x) < 0), "of decreasing noise level", **{name: _clocks(schedule, ts)[1]})


def _clocks(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
    """``alpha / (alpha + sigma)`` and ``sigma / (alpha + sigma)``."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return alpha / (alpha + sigma), sigma / (alpha + sigma)

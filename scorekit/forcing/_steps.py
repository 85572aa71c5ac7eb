"""One step of a solver at a level for each frame, in which only the frames whose level falls move."""

from typing import Any

import jax
import jax.numpy as jnp

from scorekit.trees import combine, where
from scorekit.typing import Array, Denoiser, Number, Prediction, PyTree, Schedule, Solver

_WAITING = (0.25, 0.5)
"""A step for the coefficients of frames that wait, which are not used: legal for every solver and schedule."""


def rows_of(solver: Solver, schedule: Schedule, levels: Array) -> PyTree:
    """The coefficients of all steps of levels ``(n + 1, T)``, leaves ``(n, T)``."""
    s, t = levels[1:], levels[:-1]
    times = jnp.stack([jnp.where(s < t, value, w) for value, w in zip((s, t), _WAITING, strict=True)], axis=-1)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, s.shape), solver.row(schedule, times, 0))


def step(
    key: Any,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x: PyTree,
    row: PyTree,
    t: Array,
    s: Array,
    stabilisation: Number,
) -> PyTree:
    """``x`` at levels ``s`` from that at ``t``, both ``(T,)``: frames with ``s >= t`` are given back as they are."""
    shape = (jax.tree.leaves(x)[0].shape[0], *t.shape)
    t, moves = jnp.broadcast_to(t, shape), jnp.broadcast_to(s < t, shape)
    each = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape), row)

    def of_frames(stage, of_solver) -> Prediction:
        here = jnp.where(moves, of_solver, t)
        clean = here <= 0
        seen = jnp.where(clean, jnp.asarray(stabilisation, here.dtype), here)
        at_zero = schedule.alpha(jnp.where(clean, here, 0.0))  # not 0, which would make the gradient NaN
        ratio = jnp.where(clean, schedule.alpha(seen) / at_zero, 1.0)
        scaled = combine((ratio, where(moves, stage, x)))
        return denoiser(scaled, seen)

    return where(moves, solver.step(solver.init(x), x, each, of_frames, key=key)[0], x)

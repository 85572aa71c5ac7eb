"""The rows of solvers whose steps are Gaussian, and the Gaussians along a trajectory."""

from typing import Any

import jax
import jax.numpy as jnp

from scorekit.checks import check_floating
from scorekit.numerics import log_normal, wide
from scorekit.numerics.grids import check_grid
from scorekit.numerics.meshes import scan
from scorekit.typing import Array, ArrayLike, Denoiser, PyTree, Schedule


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


def gaussian_steps(
    denoiser: Denoiser, schedule: Schedule, solver: Any, trajectory: PyTree, ts: ArrayLike
) -> tuple[Array, PyTree, Array]:
    """The log-probabilities ``(n, B)``, the means, leaves ``(n, B, ...)``, and the deviations ``(n,)`` of the steps."""
    times = check_grid(ts)
    check_floating(trajectory=trajectory)
    rows = gaussian_rows(solver, schedule, times)
    n = times.shape[0] - 1
    lengths = {jnp.shape(leaf)[0] for leaf in jax.tree.leaves(trajectory)}
    if lengths != {n + 1}:
        raise ValueError(f"trajectory must hold the {n + 1} states at ts, got lengths {sorted(lengths)}")

    def body(state, inputs):
        x, x_next, row = inputs
        mean, state = solver.mean(state, x, row, denoiser)
        return state, (log_normal_step(x_next, mean, row.std), mean)

    before, after = (jax.tree.map(lambda leaf, k=k: leaf[k : k + n], trajectory) for k in (0, 1))
    start = solver.init(jax.tree.map(lambda leaf: leaf[0], trajectory))
    return *scan(body, start, (before, after, rows))[1], rows.std


def log_normal_step(x: PyTree, mean: PyTree, std: Array) -> Array:
    """``log N(x; mean, std^2)`` summed over each example, ``(B,)``; 0 for ``std = 0``."""
    noisy = std != 0  # NaN stays visible
    rest = jax.tree.map(lambda a, b: wide(a) - wide(b), x, mean)
    return jnp.where(noisy, log_normal(rest, jnp.where(noisy, std, 1.0)), 0.0)

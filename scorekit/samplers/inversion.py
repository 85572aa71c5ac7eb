"""Inversion: from data to the noise from which a deterministic solver would have made them."""

from typing import Any

import jax
import jax.numpy as jnp

from scorekit.samplers.loop import check_floating, check_grid, walk
from scorekit.schedules.numerics import as_time
from scorekit.solvers.base import Planned, levels_at
from scorekit.solvers.precomputed import PrecomputedSolver
from scorekit.trees import combine, pytree_dataclass, where
from scorekit.typing import ArrayLike, Denoiser, PyTree, Schedule, Solver


def invert(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x: PyTree,
    ts: ArrayLike,
    *,
    trajectory: bool = False,
) -> PyTree:
    """Integrates from data at ``ts[-1]`` to noise at ``ts[0]``: :func:`scorekit.samplers.sample` run backwards.

    ``x_{k+1}, state = solver.step(None, state, x_k, ts[n-k], ts[n-k-1], denoiser, schedule)``.

    Both directions approximate the same ODE, so that ``sample(invert(x))`` returns to ``x`` up to an error that falls
    with the number of steps at the order of the solver, or one better if that is even (the leading errors cancel).
    The first steps of a multistep solver, here those at the data, are of low order and must be short for this, and a
    step of sampling to ``sigma = 0`` is first order. RMS in data of standard deviation 1, on a mixture of six
    Gaussians with a cosine schedule and 64 equal steps:

    =======================================  ===============  ========  =====================  ========
    solver                                   |log-SNR| <= 4   order     t from 0 to 1          order
    =======================================  ===============  ========  =====================  ========
    Euler                                    2.0e-2           1         2.0e-2                 1
    Heun, midpoint, DPMSolver(2)             3e-6 to 1e-4     3         1e-4 to 2e-3           2
    RK4                                      5e-10            5         1e-3                   2
    multistep (2M, Adams-Bashforth, ...)     8e-5             2         1e-3 to 5e-3           2
    UniPC in "flow"                          2e-5             3         7e-5                   3
    =======================================  ===============  ========  =====================  ========

    A start at exactly ``sigma = 0`` evaluates the denoiser there, which must be finite: a "v" or "velocity" network and
    an exact denoiser are, "x0" and "eps" networks are not. Solvers in x0 and log-SNR take Euler's step from there.

    Args:
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar in the loop.
      schedule: the noise schedule of the denoiser.
      solver: any deterministic solver.
      x: the data, or data with the noise of ``ts[-1]``.
      ts: decreasing times ``(n + 1,)`` in [0, 1], those that :func:`scorekit.samplers.sample` would be given.
      trajectory: also return the state after every step.

    Returns:
      The noise at ``ts[0]``, shaped and typed like ``x``; with ``trajectory`` the pair ``(noise, states)`` where the
      leaves of ``states`` are ``(n, B, ...)`` at the times ``ts[n - 1], ..., ts[0]``.

    Raises:
      ValueError: for a stochastic solver or a table of numbers, if ``ts`` is not decreasing in
        [0, 1], or if ``x`` is not floating.

    >>> from scorekit import denoisers, densities, samplers, schedules, solvers
    >>> schedule, ts = schedules.cosine(), solvers.grids.uniform(64)
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=0.5), schedule)
    >>> noise = invert(denoiser, schedule, solvers.Heun(), jnp.full((1, 1), 0.5), ts)
    >>> float(samplers.sample(None, denoiser, schedule, solvers.Heun(), noise, ts)[0, 0].round(2))
    0.5

    Source: Song et al. 2020, sec. 4.3 and eq. 13 (https://arxiv.org/abs/2010.02502).
    """
    check_grid(ts)
    check_floating(x=x)
    if solver.stochastic:
        raise ValueError(
            "solver must be deterministic, since noise that was drawn cannot be recovered; "
            f"got the stochastic {type(solver).__name__}"
        )
    if isinstance(solver, PrecomputedSolver):
        raise ValueError(
            "solver must compute its numbers, got a PrecomputedSolver, whose table is of the other direction"
        )
    signal = isinstance(solver, Planned) and getattr(solver, "coordinate", None) == "signal"
    backwards = _FromClean(inner=solver) if signal else solver
    plain = lambda x, t: denoiser(x, t)  # refuses a denoiser with memory: a momentum cannot be run backwards
    return walk(None, plain, schedule, backwards, x, as_time(ts)[::-1], trajectory)


@pytree_dataclass
class _FromClean(Planned):
    """A solver whose coordinate does not exist at ``sigma = 0``: from there Euler's step, and then a fresh start."""

    inner: Any
    order = 1
    evals_per_step = 1
    stochastic = False

    @property
    def memory(self) -> int:
        return self.inner.memory

    def row(self, schedule, levels, known):
        s, t = levels.at(0), levels.at(1)
        gone = levels.sigma == 0
        begin = levels_at(schedule, jnp.where(gone[..., 1], 0.5 * (t.t + s.t), t.t))  # its row is finite, and not used
        moved = jax.tree.map(lambda value, start: jnp.where(gone, start[..., None], value), levels, begin)
        known = jnp.maximum(known - jnp.any(gone[..., 2:], axis=-1), 0)
        return self.inner.row(schedule, moved, known), gone[..., 1], t.t, s.alpha, s.sigma

    def start(self, x):
        return self.inner.start(x)

    def advance(self, key, carry, x_t, row, denoiser):
        numbers, clean, t, alpha, sigma = row
        seen = []

        def watched(x, time):
            seen.append(denoiser(x, jnp.where(clean, t, time)))
            return seen[-1]

        x_s, carry = self.inner.advance(key, carry, x_t, numbers, watched)
        x0, eps = seen[0]
        return where(clean, combine((alpha, x0), (sigma, eps)), x_s), carry

"""Sampling: one ``lax.scan`` for every solver."""

from scorekit.arguments import checked
from scorekit.checks import check_floating
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.solvers.steps import integrate
from scorekit.typing import ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


@checked
def sample(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x_init: PyTree,
    ts: ArrayLike,
    *,
    key: Key | None = None,
) -> PyTree:
    """Integrates from ``ts[0]`` to ``ts[-1]``.

    ``x_{k+1}, state = solver.step(state, x_k, rows[k], denoiser, key=keys[k])``; ``rows = solver.plan(schedule, ts)``.

    Called eagerly it works but compiles at every call; wrap it in ``jax.jit``. The network is traced once. A last time
    above 0 leaves that much noise in the result; ``denoiser(x, ts[-1]).x0`` removes it for one evaluation.

    Args:
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar in the loop. If it has a state
        (:class:`scorekit.guidance.StatefulDenoiser`), the loop carries it. :class:`scorekit.flow_maps.FlowMapSolver`
        takes a flow map instead.
      schedule: the noise schedule of the denoiser.
      solver: one of :mod:`scorekit.solvers` or your own.
      x_init: the start, from :func:`scorekit.process.sample_prior`.
      ts: decreasing times ``(n + 1,)`` for ``n`` steps, from :mod:`scorekit.solvers.grids`.
      key: PRNG key; may be ``None`` for a deterministic solver, which draws nothing.

    Returns:
      The state at ``ts[-1]``, shaped and typed like ``x_init``; :func:`trajectory` also returns the states on the way.

    Raises:
      ValueError: called eagerly, also for samples that are not finite; after ``jit`` these are NaN.

    >>> import jax.numpy as jnp
    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> data, schedule = densities.gaussian(jnp.zeros(1), std=0.5), schedules.Cosine()
    >>> denoiser = denoisers.exact_denoiser(data, schedule)
    >>> ts = solvers.grids.uniform(64)
    >>> x = sample(denoiser, schedule, solvers.DPMSolverPP2M(), jnp.ones((1, 1)), ts)
    >>> float(x[0, 0].round(2))
    0.5
    """
    return _run(denoiser, schedule, solver, x_init, ts, key, keep=False)[0]


@checked
def trajectory(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x_init: PyTree,
    ts: ArrayLike,
    *,
    key: Key | None = None,
) -> tuple[PyTree, PyTree]:
    """:func:`sample` that also returns the state after every step.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, as for :func:`sample`.
      schedule: the noise schedule of the denoiser.
      solver: one of :mod:`scorekit.solvers` or your own.
      x_init: the state at ``ts[0]``, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``.
      key: PRNG key; may be ``None`` for a deterministic solver.

    Returns:
      ``(x, states)``: the result of :func:`sample`, and the states at ``ts[1:]``, leaves ``(n, B, ...)``.

    >>> import jax.numpy as jnp
    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> schedule = schedules.Cosine()
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=1.0), schedule)
    >>> x, states = trajectory(denoiser, schedule, solvers.Heun(), jnp.ones((1, 1)), solvers.grids.uniform(4))
    >>> states.shape, bool((states[-1] == x).all())
    ((4, 1, 1), True)
    """
    return _run(denoiser, schedule, solver, x_init, ts, key, keep=True)


def _run(denoiser, schedule, solver, x_init, ts, key, keep) -> tuple[PyTree, PyTree]:
    times = check_grid(ts)
    check_floating(x_init=x_init)
    if solver.stochastic and key is None:
        raise ValueError(f"key must be a PRNG key for the stochastic solver {type(solver).__name__}, got None")
    result = integrate(denoiser, schedule, solver, x_init, times, key=key, keep=keep)
    return check_samples(result, schedule=schedule, solver=solver, ts=times, x_init=x_init)


@checked
def nfe(solver: Solver, ts: ArrayLike) -> int:
    """The number of network evaluations that :func:`sample` makes on this grid.

    Args:
      solver: one of :mod:`scorekit.solvers` or your own.
      ts: decreasing times ``(n + 1,)``.

    Returns:
      ``solver.evals_per_step * n``.

    >>> import numpy as np
    >>> from scorekit.solvers import Heun
    >>> nfe(Heun(), np.linspace(1.0, 0.0, 11))
    20
    """
    return solver.evals_per_step * (check_grid(ts).shape[0] - 1)

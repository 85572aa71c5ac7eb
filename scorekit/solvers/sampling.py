"""The sampling loop: one ``lax.scan`` for every solver."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.schedules.numerics import as_time
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


def sample(
    key: Key | None,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x_init: PyTree,
    ts: ArrayLike,
    *,
    trajectory: bool = False,
) -> PyTree:
    """Integrates from ``ts[0]`` to ``ts[-1]``.

    ``x_{k+1}, state = solver.step(key_k, state, x_k, ts[k], ts[k+1], denoiser, schedule)``.

    Called eagerly it works but dispatches the network op by op; wrap it in ``jax.jit``. The network is traced once.
    A last time above 0 leaves that much noise in the result; ``denoiser(x, ts[-1]).x0`` removes it for one evaluation.

    Args:
      key: PRNG key; may be ``None`` for a deterministic solver, which draws nothing.
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar in the loop.
      schedule: the noise schedule of the denoiser.
      solver: one of :mod:`scorekit.solvers` or your own.
      x_init: the start, from :func:`scorekit.process.sample_prior`.
      ts: decreasing times ``(n + 1,)`` in [0, 1] for ``n`` steps, from :mod:`scorekit.solvers.grids`.
      trajectory: also return the state after every step.

    Returns:
      The final state, shaped and typed like ``x_init``; with ``trajectory`` the pair ``(final, states)`` where the
      leaves of ``states`` are ``(n, B, ...)``.

    Raises:
      ValueError: if ``ts`` is not decreasing in [0, 1], ``x_init`` is not floating, or a stochastic solver has no key.

    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> data, schedule = densities.gaussian(jnp.zeros(1), std=0.5), schedules.cosine()
    >>> denoiser = denoisers.exact_denoiser(data, schedule)
    >>> ts = solvers.grids.uniform(64)
    >>> x = sample(None, denoiser, schedule, solvers.DPMSolverPP2M(), jnp.ones((1, 1)), ts)
    >>> float(x[0, 0].round(2))
    0.5
    """
    _check(key, solver, x_init, ts)
    ts = as_time(ts)
    # Traced once, however often a step calls it; a lambda because a callable pytree need not be hashable.
    once = jax.jit(lambda x, t: denoiser(x, t))
    keys = None if key is None or not solver.stochastic else jax.random.split(key, ts.shape[0] - 1)

    def body(carry, inputs):
        x, state = carry
        t, s, key = inputs
        x, state = solver.step(key, state, x, t, s, once, schedule)
        return (x, state), (x if trajectory else None)

    (x, _), states = jax.lax.scan(body, (x_init, solver.init(x_init)), (ts[:-1], ts[1:], keys))
    return (x, states) if trajectory else x


def nfe(solver: Solver, ts: ArrayLike) -> int:
    """The number of network evaluations that :func:`sample` makes on this grid.

    >>> from scorekit.solvers import Heun
    >>> nfe(Heun(), jnp.linspace(1.0, 0.0, 11))
    20
    """
    return solver.evals_per_step * (np.shape(ts)[0] - 1)


def _check(key: Key | None, solver: Solver, x_init: PyTree, ts: ArrayLike | Array) -> None:
    if np.ndim(ts) != 1 or np.shape(ts)[0] < 2:
        raise ValueError(f"ts must have shape (n + 1,) with n >= 1 steps, got shape {np.shape(ts)}")
    if not is_traced(ts):
        times = np.asarray(ts)
        if not (np.all(np.diff(times) < 0) and times[0] <= 1 and times[-1] >= 0):
            raise ValueError(f"ts must decrease strictly within [0, 1], got {times}")
    for leaf in jax.tree.leaves(x_init):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(f"x_init must hold floating arrays, got dtype {jnp.result_type(leaf)}")
    if solver.stochastic and key is None:
        raise ValueError(f"key must be a PRNG key for the stochastic solver {type(solver).__name__}, got None")

"""Sampling: one ``lax.scan`` for every solver."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.checks import check_floating
from scorekit.guidance.stateful import StatefulDenoiser, init_denoiser_state, predict, with_state
from scorekit.solvers.grids import check_grid
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

    ``x_{k+1}, state = solver.step(key_k, state, x_k, rows[k], denoiser)`` with ``rows = solver.plan(schedule, ts)``.

    Called eagerly it works but dispatches the network op by op; wrap it in ``jax.jit``. The network is traced once.
    A last time above 0 leaves that much noise in the result; ``denoiser(x, ts[-1]).x0`` removes it for one evaluation.

    Args:
      key: PRNG key; may be ``None`` for a deterministic solver, which draws nothing.
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar in the loop. If it has a state
        (:class:`scorekit.guidance.StatefulDenoiser`), the loop carries it. For
        :class:`scorekit.flow_maps.FlowMapSolver` a flow map.
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

    >>> import jax.numpy as jnp
    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> data, schedule = densities.gaussian(jnp.zeros(1), std=0.5), schedules.cosine()
    >>> denoiser = denoisers.exact_denoiser(data, schedule)
    >>> ts = solvers.grids.uniform(64)
    >>> x = sample(None, denoiser, schedule, solvers.DPMSolverPP2M(), jnp.ones((1, 1)), ts)
    >>> float(x[0, 0].round(2))
    0.5
    """
    times = check_grid(ts)
    check_floating(x_init=x_init)
    if solver.stochastic and key is None:
        raise ValueError(f"key must be a PRNG key for the stochastic solver {type(solver).__name__}, got None")
    return integrate(key, denoiser, schedule, solver, x_init, times, trajectory)


def integrate(
    key: Key | None,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x: PyTree,
    ts: Array,
    trajectory: bool = False,
    unroll: bool = False,
) -> PyTree:
    """:func:`sample` without its checks, along times that may decrease or increase.

    ``unroll`` repeats the program of a step instead of looping over it.

    >>> from scorekit import schedules, solvers
    >>> from scorekit.typing import Prediction
    >>> ts = jnp.array([0.5, 0.75])
    >>> integrate(None, lambda x, t: Prediction(x, 3 * x), schedules.rectified_flow(), solvers.Euler(), jnp.ones(1), ts)
    Array([2.5], dtype=float32)
    """
    once = _TracedOnce(denoiser)
    keys = jax.random.split(key, ts.shape[0] - 1) if key is not None and solver.stochastic else None
    rows, row_of = solver.plan(schedule, ts), lambda row: row
    if solver.evals_per_step == 1:  # several evaluations that read from one table run slower
        rows, row_of = _packed(rows)

    def body(carry, inputs):
        (x, state, denoiser_state), (row, key) = carry, inputs
        step = lambda denoiser: solver.step(key, state, x, row_of(row), denoiser)
        (x, state), denoiser_state = with_state(once, denoiser_state, step)
        return (x, state, denoiser_state), (x if trajectory else None)

    (x, _, _), states = jax.lax.scan(body, (x, solver.init(x), once.init(x)), (rows, keys), unroll=unroll)
    return (x, states) if trajectory else x


def nfe(solver: Solver, ts: ArrayLike) -> int:
    """The number of network evaluations that :func:`sample` makes on this grid.

    Raises:
      ValueError: if ``ts`` is no grid.

    >>> from scorekit.solvers import Heun
    >>> nfe(Heun(), jnp.linspace(1.0, 0.0, 11))
    20
    """
    return solver.evals_per_step * (check_grid(ts).shape[0] - 1)


class _TracedOnce(StatefulDenoiser):
    """A denoiser, with or without a state, that is traced once for all evaluations of a step."""

    def __init__(self, denoiser: Denoiser):
        self.init = lambda x: init_denoiser_state(denoiser, x)
        # a lambda because a callable pytree need not be hashable
        self.predict = jax.jit(lambda state, x, *times: predict(denoiser, state, x, *times))


def _packed(rows: PyTree) -> tuple[PyTree, Callable[[PyTree], PyTree]]:
    """The scalar coefficients of all steps as one table, which compiles faster than many columns, and its reader."""
    leaves, tree = jax.tree.flatten(rows)
    wide = jnp.result_type(jnp.float32, *(leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)))
    scalar = [leaf.ndim == 1 and leaf.dtype == wide for leaf in leaves]
    if not any(scalar):
        return rows, lambda row: row
    table = jnp.stack([leaf for leaf, s in zip(leaves, scalar, strict=True) if s], axis=-1)
    rest = [leaf for leaf, s in zip(leaves, scalar, strict=True) if not s]

    def row_of(row):
        columns, others = iter(jnp.unstack(row[0])), iter(row[1])
        return jax.tree.unflatten(tree, [next(columns if s else others) for s in scalar])

    return (table, rest), row_of

"""The loop over the steps of a solver, for a sampler of your own."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.arguments import checked
from scorekit.guidance.stateful import StatefulDenoiser, init_denoiser_state, predict, with_state
from scorekit.numerics.meshes import scan
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


@checked
def integrate(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x: PyTree,
    ts: Array,
    *,
    key: Key | None = None,
    keep: bool = False,
    unroll: bool = False,
) -> tuple[PyTree, PyTree]:
    """:func:`~scorekit.samplers.trajectory` without its checks, along times that may decrease or increase.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, perhaps with a state of its own.
      schedule: the noise schedule, which the rows of the solver are planned for.
      solver: takes the steps (:mod:`scorekit.solvers`).
      x: the state at the first time.
      ts: the times ``(n + 1,)``.
      key: PRNG key, of which a stochastic solver gets a part in each step.
      keep: whether to return the states after each step.
      unroll: whether to repeat the program of a step instead of looping over it.

    Returns:
      The last state, and the states ``(n, ...)`` or None.

    >>> from scorekit import schedules, solvers
    >>> from scorekit.typing import Prediction
    >>> ts = jnp.array([0.5, 0.75])
    >>> integrate(lambda x, t: Prediction(x, 3 * x), schedules.RectifiedFlow(), solvers.Euler(), jnp.ones(1), ts)[0]
    Array([2.5], dtype=float32)
    """
    once = _TracedOnce(denoiser)
    keys = jax.random.split(key, ts.shape[0] - 1) if key is not None and solver.stochastic else None
    rows, row_of = solver.plan(schedule, ts), lambda row: row
    if solver.evals_per_step == 1:  # several evaluations that read from one table run slower
        rows, row_of = _packed(rows)

    def body(carry, inputs):
        (x, state, denoiser_state), (row, key) = carry, inputs
        step = lambda denoiser: solver.step(state, x, row_of(row), denoiser, key=key)
        (x, state), denoiser_state = with_state(once, denoiser_state, step)
        return (x, state, denoiser_state), (x if keep else None)

    (x, _, _), states = scan(body, (x, solver.init(x), once.init(x)), (rows, keys), unroll=unroll)
    return x, states


@checked
def stacked_rows(solver: Solver, schedule: Schedule, times: ArrayLike, num_past: ArrayLike) -> PyTree:
    """``solver.row`` for the steps along the first axis of ``times``, every leaf with that axis.

    Args:
      solver: takes the steps (:mod:`scorekit.solvers`).
      schedule: the noise schedule, which the rows of the solver are planned for.
      times: for each step s, t and earlier times, ``(n, 2 + max_past)``.
      num_past: number of valid earlier times, an integer or ``(n,)``.

    Returns:
      The rows, stacked.

    >>> from scorekit import schedules, solvers
    >>> stacked_rows(solvers.Euler(), schedules.RectifiedFlow(), jnp.array([[0.5, 1.0], [0.25, 0.5]]), 0).x0
    Array([0.5 , 0.75], dtype=float32)
    """
    rows = solver.row(schedule, times, num_past)
    n = jnp.shape(times)[0]
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *jnp.shape(leaf)[1:])), rows)


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

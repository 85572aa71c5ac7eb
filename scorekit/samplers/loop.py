"""What :func:`scorekit.samplers.sample` and its relatives share: the loop, in either direction of time, and checks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.guidance.stateful import StatefulDenoiser, init_denoiser_state, predict, with_state
from scorekit.solvers.base import Planned
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


def walk(
    key: Key | None,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x: PyTree,
    ts: Array,
    trajectory: bool = False,
    unroll: bool = False,
) -> PyTree:
    """One ``lax.scan`` along ``ts``, which may decrease or increase; see :func:`scorekit.samplers.sample`.

    ``unroll`` repeats the program of a step instead of looping over it.

    >>> from scorekit import schedules, solvers
    >>> from scorekit.typing import Prediction
    >>> ts = jnp.array([0.5, 0.75])
    >>> walk(None, lambda x, t: Prediction(x, 3 * x), schedules.rectified_flow(), solvers.Euler(), jnp.ones(1), ts)
    Array([2.5], dtype=float32)
    """
    once = _Once(denoiser)
    keys = None if key is None or not solver.stochastic else jax.random.split(key, ts.shape[0] - 1)

    if isinstance(solver, Planned):  # its numbers for all steps first, so that the loop holds little but the network
        rows, row_of = solver.plan(schedule, ts), lambda row: row
        if getattr(solver, "evals_per_step", 1) == 1:  # what several evaluations read from a table runs slower
            rows, row_of = _packed(rows)
        start, step = solver.start(x), lambda key, state, x, row, d: solver.advance(key, state, x, row_of(row), d)
    else:
        rows, start = (ts[:-1], ts[1:]), solver.init(x)
        step = lambda key, state, x, row, d: solver.step(key, state, x, row[0], row[1], d, schedule)

    def body(carry, inputs):
        (x, state, memory), (row, key) = carry, inputs
        (x, state), memory = with_state(once, memory, lambda d: step(key, state, x, row, d))
        return (x, state, memory), (x if trajectory else None)

    (x, _, _), states = jax.lax.scan(body, (x, start, once.init(x)), (rows, keys), unroll=unroll)
    return (x, states) if trajectory else x


class _Once(StatefulDenoiser):
    """A denoiser, with or without memory, that is traced once, however often a step calls it."""

    def __init__(self, denoiser: Denoiser):
        self.init = lambda x: init_denoiser_state(denoiser, x)
        # a lambda because a callable pytree need not be hashable
        self.predict = jax.jit(lambda memory, x, t: predict(denoiser, memory, x, t))


def _packed(rows: PyTree) -> tuple[PyTree, Callable[[PyTree], PyTree]]:
    """Numbers of one kind as one table, which compiles faster than many columns, and how to read a row of it."""
    leaves, tree = jax.tree.flatten(rows)
    wide = jnp.result_type(jnp.float32, *(leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)))
    plain = [leaf.ndim == 1 and leaf.dtype == wide for leaf in leaves]
    if not any(plain):
        return rows, lambda row: row
    table = jnp.stack([leaf for leaf, p in zip(leaves, plain, strict=True) if p], axis=-1)
    rest = [leaf for leaf, p in zip(leaves, plain, strict=True) if not p]

    def row_of(row):
        numbers, others = iter(jnp.unstack(row[0])), iter(row[1])
        return jax.tree.unflatten(tree, [next(numbers if p else others) for p in plain])

    return (table, rest), row_of


def check_grid(ts: ArrayLike) -> None:
    """Raises a ``ValueError`` unless ``ts`` is a decreasing grid in [0, 1]; of traced times only the shape is checked.

    >>> check_grid([0.0, 1.0])
    Traceback (most recent call last):
    ValueError: ts must decrease strictly within [0, 1], got [0. 1.]
    """
    if np.ndim(ts) != 1 or np.shape(ts)[0] < 2:
        raise ValueError(f"ts must have shape (n + 1,) with n >= 1 steps, got shape {np.shape(ts)}")
    if not is_traced(ts):
        times = np.asarray(ts)
        if not (np.all(np.diff(times) < 0) and times[0] <= 1 and times[-1] >= 0):
            raise ValueError(f"ts must decrease strictly within [0, 1], got {times}")


def check_floating(**named: PyTree) -> None:
    """Raises a ``ValueError`` that names the first tree with an array that is not floating.

    >>> check_floating(x=jnp.arange(2))
    Traceback (most recent call last):
    ValueError: x must hold floating arrays, got dtype int32
    """
    for name, tree in named.items():
        for leaf in jax.tree.leaves(tree):
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                raise ValueError(f"{name} must hold floating arrays, got dtype {jnp.result_type(leaf)}")

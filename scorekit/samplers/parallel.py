"""Sampling all steps at once: the states of a whole trajectory as the fixed point of one batched network call.

With ``f_k`` the k-th step of a solver, ``x_{k+1} = f_k(x_k)``, and ``c = hypot(alpha, sigma)``, a Picard sweep puts

    ``y_{k+1} <- y_{k+1} + sum_{j <= k} (f_j(x_j) / c_{j+1} - y_{j+1})``,    ``y = x / c``,

the exact answer for standard normal data. Sweep i makes at least the first i states exact, so that n sweeps give the
sequential answer; in practice far fewer do. Triangular Anderson acceleration extrapolates each state from the last few
sweeps by a least-squares fit to the residuals of this state and of earlier states, not of later ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scorekit._grids import check_grid, check_samples
from scorekit._numerics import wide
from scorekit.arguments import NonNegativeInt, Positive, PositiveInt, checked
from scorekit.checks import check_floating, check_prediction
from scorekit.trees import batch_size, combine, event_size, expand
from scorekit.typing import Array, ArrayLike, Denoiser, PyTree, Schedule

__all__ = ["ParallelResult", "parallel_sample"]


class ParallelResult(NamedTuple):
    """The result of :func:`parallel_sample`.

    Attributes:
      x: the final state, shaped and typed like ``x_init``.
      iterations: sweeps made: the sequential network calls, times ``solver.evals_per_step``.
      evaluations: network evaluations of each example, all sweeps together.
      error: ``(B,)``, the last sweep's largest RMS change of a state, in units of ``hypot(alpha, sigma)``.
      converged: whether every state changed by less than the tolerance, or is exact.

    >>> result = ParallelResult(jnp.ones((2, 1)), iterations=4, evaluations=12, error=jnp.zeros(2), converged=True)
    >>> result.evaluations / result.iterations  # how many times run in parallel
    3.0

    Source: Shih et al. 2023 (https://arxiv.org/abs/2305.16317).
    """

    x: PyTree
    iterations: Array
    evaluations: Array
    error: Array
    converged: Array


class _Acceleration(NamedTuple):
    """The last sweep and the differences between earlier ones, newest first."""

    y: PyTree
    residual: PyTree
    moves: tuple[PyTree, ...]
    changes: tuple[PyTree, ...]


class _Sweep(NamedTuple):
    """States ``start`` (final, with its slopes in ``past``) to ``start + window``, of which ``exact`` are exact."""

    start: Array
    exact: Array
    y: PyTree
    past: tuple[PyTree, ...]
    acceleration: _Acceleration
    iterations: Array
    error: Array
    converged: Array


@checked
def parallel_sample(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Any,
    x_init: PyTree,
    ts: ArrayLike,
    *,
    tolerance: Positive = 1e-3,
    max_iterations: PositiveInt | None = None,
    window: PositiveInt | None = None,
    anderson: NonNegativeInt = 1,
    sharding: jax.sharding.Sharding | None = None,
) -> ParallelResult:
    """The answer of :func:`scorekit.samplers.sample` in fewer sequential network calls, each on many steps at once.

    Every sweep evaluates the denoiser once on a batch of ``window * B`` states with one time each. States are in the
    order step, then example. On a mesh, ``sharding`` lays this batch out (the call must be inside ``jit``, and the
    batch a multiple of the devices), so that each device evaluates some of the steps:
    ``NamedSharding(mesh, PartitionSpec("data"))``; the states cross the mesh once a sweep.

    The loop stops when the RMS change of every state of every example is at most ``tolerance * hypot(alpha, sigma)``
    (the criterion of ParaDiGMS, but with the scale of the state, because the scale of the noise vanishes at the end);
    under ``vmap`` each example stops by itself. Steps whose states have settled leave the window, and later ones enter.
    The result can be differentiated in forward mode only.

    The examples of a batch share the sweeps, and the slowest example decides their number, which grows with the batch.
    Sweeps (and evaluations of each example) for 64 equal steps of Adams-Bashforth, tolerance 1e-3, cosine schedule:

    ===========================  ========  ===========  ===========  ============  ============
    data                         examples  Picard       Anderson     window of 32  window of 16
    ===========================  ========  ===========  ===========  ============  ============
    eight Gaussians on a ring    64        10 (640)     7 (448)      11 (352)      13 (208)
    the same                     512       11 (704)     12 (768)     14 (448)      18 (288)
    ten Gaussians, 64 dim.       64        11 (704)     13 (832)     14 (448)      17 (272)
    the same                     512       18 (1152)    20 (1280)    18 (576)      20 (320)
    ===========================  ========  ===========  ===========  ============  ============

    Anderson's extrapolation helps small batches at best; ``anderson=0`` is Picard's iteration.

    Args:
      denoiser: ``(x_t, t) -> Prediction`` that takes a time per example, ``t`` of shape ``(window * B,)``.
      schedule: the noise schedule of the denoiser.
      solver: a deterministic solver whose state holds nothing, or only earlier slopes that its methods ``slope`` and
        ``combine`` read (:class:`scorekit.solvers.LinearSolver`): any of the library but UniPC and FewSteps.
      x_init: the start, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``.
      tolerance: largest change of a state that has settled, relative to ``hypot(alpha, sigma)``, about the standard
        deviation of the state.
      max_iterations: largest number of sweeps; n by default, which always converges.
      window: number of steps in a sweep; all n by default. Fewer need less memory and fewer evaluations, and more
        sweeps; a state that has settled keeps its error, which later steps may amplify.
      anderson: number of earlier sweeps to extrapolate from; 0 for plain Picard iteration, as with a window of fewer
        than n steps, where extrapolation gains nothing.
      sharding: placement of the batch of states, along its leading axis.

    Returns:
      A :class:`ParallelResult`.

    Raises:
      ValueError: for a solver that is stochastic or carries more than slopes.

    >>> from scorekit import denoisers, densities, samplers, schedules, solvers
    >>> schedule, ts = schedules.cosine(), solvers.grids.uniform(32)
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), std=0.5), schedule)
    >>> start = jax.random.normal(jax.random.key(0), (4, 2))
    >>> result = jax.jit(parallel_sample)(denoiser, schedule, solvers.Euler(), start, ts)
    >>> sequential = jax.jit(samplers.sample)(None, denoiser, schedule, solvers.Euler(), start, ts)
    >>> int(result.iterations) < 12, bool(jnp.allclose(result.x, sequential, atol=1e-3))
    (True, True)

    Source: Shih et al. 2023 (https://arxiv.org/abs/2305.16317); Tang et al. 2024
    (https://arxiv.org/abs/2402.09970).
    """
    ts = check_grid(ts)
    check_floating(x_init=x_init)
    linear = _is_linear(solver, x_init)
    past = solver.max_past if linear else 0
    batch = batch_size(x_init)
    n = ts.shape[0] - 1
    size = n if window is None else min(window, n)
    depth = anderson if size == n else 0
    most = n if max_iterations is None else max_iterations
    rows, scale = solver.plan(schedule, ts), jnp.hypot(schedule.alpha(ts), schedule.sigma(ts))

    def steps(sweep: _Sweep):
        """``f_k(x_k)`` of the window's steps in units of c, and the slopes that the next window may use."""
        c = jax.lax.dynamic_slice_in_dim(scale, sweep.start, size + 1)
        row = jax.tree.map(
            lambda leaf: jnp.repeat(jax.lax.dynamic_slice_in_dim(leaf, sweep.start, size), batch, axis=0), rows
        )
        x = jax.tree.map(lambda y, like: _flat((expand(c[:-1], y[:-1]) * y[:-1]).astype(like.dtype)), sweep.y, x_init)
        if sharding is not None:
            x = jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), x)
        slopes = sweep.past
        if linear:
            prediction = check_prediction(denoiser(x, row.t))
            if past:
                newest = jax.tree.map(_split, solver.slope(prediction, row, x), x_init)
                slopes = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), slopes, newest)
            earlier = (jax.tree.map(lambda leaf, k=k: _flat(leaf[k : k + size]), slopes) for k in reversed(range(past)))
            x = solver.combine(x, row, prediction, tuple(earlier))
        else:
            x, _ = solver.step(None, solver.init(x), x, row, jax.jit(lambda x, t: denoiser(x, t)))
        goals = jax.tree.map(lambda leaf, y: _split(leaf, y[0]).astype(y.dtype) / expand(c[1:], y[1:]), x, sweep.y)
        return goals, slopes

    def body(sweep: _Sweep) -> _Sweep:
        goals, slopes = steps(sweep)
        y = jax.tree.map(lambda leaf: leaf[1:], sweep.y)
        residual = jax.tree.map(lambda goal, y: jnp.cumsum(goal - y, axis=0), goals, y)
        change = jnp.sqrt(_dot(residual, residual) / event_size(x_init))  # (size, B)
        settled = jnp.cumprod(jnp.max(change, axis=1) <= tolerance).sum()

        move, acceleration = residual, sweep.acceleration
        if depth:
            acceleration = _with_differences(acceleration, y, residual, sweep.iterations > 0)
            plain = jnp.arange(size) <= jnp.maximum(settled, sweep.exact)
            move = combine((1.0, residual), (-1.0, _extrapolation(acceleration, plain)))
        y = jax.tree.map(lambda y, move: y.at[1:].add(move), sweep.y, move)

        exact = sweep.exact + 1
        converged = sweep.start + jnp.maximum(settled, exact) >= n
        shift = jnp.clip(settled, 1, n - size - sweep.start) if size < n else jnp.array(0)
        if size < n:
            y = _shifted(y, shift)
        next_past = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, shift, past), slopes)
        return _Sweep(
            start=sweep.start + shift,
            exact=jnp.maximum(exact - shift, 0),
            y=y,
            past=next_past,
            acceleration=acceleration,
            iterations=sweep.iterations + 1,
            error=jnp.max(change, axis=0),
            converged=converged,
        )

    y = jax.tree.map(lambda x: jnp.broadcast_to(wide(x) / scale[0], (size + 1, *x.shape)), x_init)
    zeros = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[1:]), y)
    first = _Sweep(
        start=jnp.array(0),
        exact=jnp.array(0),
        y=y,
        past=jax.tree.map(lambda x: jnp.zeros((past, *x.shape), x.dtype), x_init),
        acceleration=_Acceleration(zeros, zeros, (zeros,) * depth, (zeros,) * depth),
        iterations=jnp.array(0),
        error=jnp.full((batch,), jnp.inf, jnp.result_type(*jax.tree.leaves(y))),
        converged=jnp.array(False),
    )
    last = jax.lax.while_loop(lambda s: ~s.converged & (s.iterations < most), body, first)
    x = jax.tree.map(lambda y, like: (y[-1] * scale[-1]).astype(like.dtype), last.y, x_init)
    check_samples(x, ts, schedule, x_init=x_init)
    evaluations = last.iterations * size * solver.evals_per_step
    return ParallelResult(x, last.iterations, evaluations, last.error, last.converged)


def _flat(leaf: Array) -> Array:
    """``(steps, B, ...)`` as one batch."""
    return leaf.reshape(-1, *leaf.shape[2:])


def _split(leaf: Array, like: Array) -> Array:
    """One batch as ``(steps, B, ...)``, for ``like`` of ``(B, ...)``."""
    return leaf.reshape(-1, *like.shape)


def _dot(a: PyTree, b: PyTree) -> Array:
    """Inner products over each example, ``(steps, B)``."""
    leaf = lambda a, b: jnp.sum((a * b).reshape(*a.shape[:2], -1), axis=-1)
    return sum(jax.tree.leaves(jax.tree.map(leaf, a, b)), jnp.zeros(()))


def _with_differences(acceleration: _Acceleration, y: PyTree, residual: PyTree, exists: Array) -> _Acceleration:
    """The state of the acceleration with the differences between this sweep and the last, if there was one."""
    since = lambda new, old: jax.tree.map(lambda a, b: jnp.where(exists, a - b, 0.0), new, old)
    moves = (since(y, acceleration.y), *acceleration.moves[:-1])
    changes = (since(residual, acceleration.residual), *acceleration.changes[:-1])
    return _Acceleration(y, residual, moves, changes)


def _extrapolation(acceleration: _Acceleration, plain: Array) -> PyTree:
    """What triangular Anderson acceleration subtracts from a Picard step; nothing where ``plain``.

    Per state k and example, ``sum_i g_i (move_i + change_i)`` with g the least-squares fit of ``sum_i g_i change_i`` to
    the residual over the states up to k.
    """
    changes, m = acceleration.changes, len(acceleration.changes)
    gram = jnp.stack([jnp.stack([jnp.cumsum(_dot(a, b), 0) for b in changes], -1) for a in changes], -1)
    right = jnp.stack([jnp.cumsum(_dot(a, acceleration.residual), 0) for a in changes], -1)
    information = jnp.finfo(gram.dtype)
    ridge = information.eps * jnp.trace(gram, axis1=-2, axis2=-1) + information.tiny
    g = jnp.linalg.solve(gram + ridge[..., None, None] * jnp.eye(m, dtype=gram.dtype), right[..., None])[..., 0]
    g = jnp.where(plain[:, None, None], 0.0, g)
    each = [
        combine((g[..., i], a), (g[..., i], b))
        for i, (a, b) in enumerate(zip(acceleration.moves, changes, strict=True))
    ]
    return jax.tree.map(lambda *leaves: sum(leaves), *each)


def _shifted(tree: PyTree, shift: Array) -> PyTree:
    """Moves the states to the front by ``shift``; the last is repeated."""

    def leaf(x):
        return jnp.take(x, jnp.minimum(jnp.arange(x.shape[0]) + shift, x.shape[0] - 1), axis=0)

    return jax.tree.map(leaf, tree)


def _is_linear(solver: Any, x_init: PyTree) -> bool:
    """Whether a step is a combination of slopes; a solver that is not linear must carry nothing."""
    name = type(solver).__name__
    if solver.stochastic:
        raise ValueError(f"solver must be deterministic, got the stochastic {name}")
    linear = hasattr(solver, "slope") and hasattr(solver, "combine")
    if not linear and jax.tree.leaves(solver.init(x_init)):
        raise ValueError(
            "solver must carry nothing but the slopes of earlier steps and have the methods slope and combine, "
            f"got {name}, which has not; take an Adams-Bashforth or Runge-Kutta solver"
        )
    return linear

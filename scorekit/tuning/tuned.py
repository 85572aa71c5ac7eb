"""Time grids and coefficients of solvers, tuned by differentiating through the sampler.

With few evaluations the noise levels matter more than the solver. For a given denoiser, solver and number of steps
they are optimised by Adam on

    ``M_p(|sample(sigma(ts[0]) z, ts) - reference(z)|)``,

M_p the power mean over draws of z of the root mean square over an example's values, and ``reference`` the end of a fine
solve from ``sigma(t_max) z``. A few draws lie on the border of two modes, where the map is discontinuous; they dominate
``p = 2`` (the RMSE), so that ``p = 1`` often gives a better RMSE too. A tuned grid costs nothing at sampling time and
is specific to the denoiser, the schedule, the solver and the number of steps.

Source: after Watson et al. 2022 (https://arxiv.org/abs/2202.05830), with the distance to a fine solve as the objective.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax

from scorekit.arguments import Count, Fraction, NonNegative, Positive, PositiveInt, checked
from scorekit.checks import check, check_finite, check_floating, check_like
from scorekit.numerics import wide
from scorekit.numerics.grids import check_grid
from scorekit.samplers.sampling import sample
from scorekit.solvers.multistep import AdamsBashforth
from scorekit.solvers.precomputed import precomputed
from scorekit.solvers.steps import integrate
from scorekit.trees import as_pytree, batch_size, combine, event_size, is_traced, normal_like, sum_per_example
from scorekit.tuning._unconstrained import adjusted, check_decreasing, grid_to_logits, logits_to_grid, zero_adjustments
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver

_TINY = 1e-14  # keeps the root of a squared distance differentiable, far below what float32 resolves


class Pairs(NamedTuple):
    """Starts and ends of the probability-flow ODE, in batches.

    Attributes:
      noise: standard normal draws z, leaves ``(N, B, ...)``: N batches of the size at which the denoiser is called.
      end: the result of a fine solve from ``sigma(t_max) z``, shaped like ``noise``.

    >>> Pairs(noise=jnp.ones((2, 8, 1)), end=jnp.zeros((2, 8, 1))).end.shape  # two batches of eight
    (2, 8, 1)
    """

    noise: PyTree
    end: PyTree


class Trial(NamedTuple):
    """The held-out error of one starting grid, in units of the data.

    Attributes:
      before: the error of the starting grid.
      after: the error after tuning from it.

    >>> Trial(before=0.2, after=0.1).after
    0.1
    """

    before: Array
    after: Array


class Tuned(NamedTuple):
    """The result of :func:`tune`; pass ``solver`` and ``ts`` to :func:`scorekit.samplers.sample`.

    Attributes:
      ts: the grid ``(n + 1,)``; sampling starts from ``sigma(ts[0]) z``.
      solver: the solver, with its coefficients if those were tuned.
      before: held-out error of the best starting grid.
      after: held-out error of the tuned grid, at most ``before``.
      trials: the same for every starting grid, by name.

    >>> Tuned(ts=jnp.linspace(1, 0, 4), solver=None, before=0.2, after=0.1, trials={}).ts.shape
    (4,)
    """

    ts: Array
    solver: Solver
    before: Array
    after: Array
    trials: dict[str, Trial]


def _fine_grid(schedule: Schedule, n: int, t_max: ArrayLike = 1.0, t_min: ArrayLike = 0.0) -> Array:
    """A grid for fine solves with any schedule: even in log-SNR in the middle, finite at both ends.

    Uniform in ``log((sigma + k alpha) / (alpha + k sigma))`` with k = 1/50.
    """
    k = 0.02
    clock = lambda t: jnp.log(schedule.sigma(t) + k * schedule.alpha(t)) - jnp.log(
        schedule.alpha(t) + k * schedule.sigma(t)
    )
    inner = jnp.exp(jnp.linspace(clock(t_max), clock(t_min), n + 1)[1:-1])
    times = schedule.time_at(2.0 * (jnp.log(1.0 - k * inner) - jnp.log(inner - k)))
    return jnp.concatenate([wide(t_max)[None], times, wide(t_min)[None]])


@checked
def fine_pairs(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    like: PyTree,
    num_batches: PositiveInt,
    *,
    t_max: Fraction[float] = 1.0,
    t_min: Fraction[float] = 0.0,
    steps: Annotated[int, Count(2)] = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Draws noise and solves finely: fourth-order Adams-Bashforth in the "flow" coordinate, one batch at a time.

    With the default number of steps the ends on the exact mixtures of the tests are accurate to 1e-5.

    Args:
      key: PRNG key; the same key gives the same pairs.
      denoiser: ``(x_t, t) -> Prediction``, called at one batch size, so that each example may have a condition.
      schedule: the schedule of the denoiser.
      like: arrays or ``jax.ShapeDtypeStruct`` of one batch, leaves ``(B, ...)``.
      num_batches: N. A few hundred draws in total are enough to tune a grid, a few thousand for coefficients.
      t_max: time at which the noise is added.
      t_min: time at which the solve ends.
      steps: evaluations of the fine solve.
      progress: called after every batch with (batches done, total batches).

    >>> from scorekit import densities, denoisers, schedules
    >>> schedule, x = schedules.RectifiedFlow(), jnp.ones((16, 1))
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=0.5), schedule)
    >>> pairs = fine_pairs(jax.random.key(0), denoiser, schedule, x, 1)
    >>> bool(jnp.allclose(pairs.end, 0.5 * pairs.noise, atol=1e-5))
    True
    """
    check_floating(like=like)
    if not batch_size(like):
        raise ValueError("like must hold at least one example, got a batch of 0")
    if not is_traced(t_min):
        check(lambda t: t > t_min, f"> t_min = {t_min}", t_max=t_max)
    solver, ts = AdamsBashforth(order=4), _fine_grid(schedule, steps, t_max, t_min)

    @jax.jit
    def solve(denoiser, key):
        noise = normal_like(key, like)
        return Pairs(noise, sample(denoiser, schedule, solver, combine((schedule.sigma(t_max), noise)), ts))

    drawn = []
    for k in jax.random.split(key, num_batches):
        drawn.append(jax.block_until_ready(solve(as_pytree(denoiser), k)))
        if progress is not None:
            progress(len(drawn), num_batches)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)


@checked
def distances(
    denoiser: Denoiser, schedule: Schedule, solver: Solver, ts: ArrayLike, noise: PyTree, end: PyTree
) -> Array:
    """The root mean square distance of every sample of one batch to its reference, ``(B,)`` in units of the data.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, called at one batch size, so that each example may have a condition.
      schedule: the schedule of the denoiser.
      solver: a deterministic solver.
      ts: decreasing times ``(n + 1,)`` in [0, 1].
      noise: one batch of standard normal draws z, leaves ``(B, ...)``; sampling starts from ``sigma(ts[0]) z``.
      end: the reference, shaped like ``noise``.

    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> schedule, x = schedules.RectifiedFlow(), jnp.ones((16, 1))
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=0.5), schedule)
    >>> distances(denoiser, schedule, solvers.Euler(), jnp.array([1.0, 0.0]), x, x)[:2]  # one step reaches the mean, 0
    Array([1., 1.], dtype=float32)
    """
    ts = wide(ts)
    check_grid(ts)
    check_floating(noise=noise, end=end)
    check_like("noise", noise, end=end)
    if not batch_size(noise):
        raise ValueError("noise must hold at least one example, got a batch of 0")
    return _distances(denoiser, schedule, solver, ts, noise, end)


def _distances(denoiser, schedule, solver, ts, noise, end, unroll=False) -> Array:
    x = integrate(denoiser, schedule, solver, combine((schedule.sigma(ts[0]), noise)), ts, unroll=unroll)[0]
    squares = sum_per_example(jnp.square, jax.tree.map(jnp.subtract, x, end))
    return jnp.sqrt(squares / event_size(end) + _TINY)


@checked
def tune(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    grids: Mapping[str, ArrayLike],
    pairs: Pairs,
    held_out: Pairs,
    *,
    coefficients: bool = False,
    free_start: bool = True,
    num_starts: PositiveInt | None = None,
    power: NonNegative[float] = 1.0,
    steps: PositiveInt = 300,
    learning_rate: Positive[float] = 0.05,
    progress: Callable[[int, int, float], None] | None = None,
) -> Tuned:
    """Finds the time grid, and optionally the coefficients, that bring a sampler closest to a fine reference.

    The best of ``grids`` are optimised in turn by Adam through all steps of the sampler, one batch of ``pairs`` an
    update. The result is the candidate with the least error on ``held_out`` among the starting grids and the evaluated
    updates, so that it is never worse there than the best starting grid. The same arguments give the same result.

    The memory is as for a gradient through all steps; wrap the network in ``jax.checkpoint`` if that is too much.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, called at one batch size, so that each example may have a condition.
      schedule: the schedule of the denoiser.
      solver: a deterministic solver.
      grids: starting grids by name, all ``(n + 1,)`` with the same n; the latest first time is the time at which
        the noise of the pairs is added, and every tuned grid keeps the end of its starting grid.
      pairs: training noise and ends, from :func:`fine_pairs` or your own; finite, of one shape.
      held_out: others, for the selection.
      coefficients: also tune the coefficients of the solver's plan; this needs more training pairs.
      free_start: allow a first noise level below the pairs' own.
      num_starts: number of grids to tune, in the order of their error on ``held_out``; all by default.
      power: p of the power mean of the distances: 2 is the RMSE, 1 the mean, 0 the geometric mean.
      steps: updates per starting grid.
      learning_rate: learning rate of Adam, with cosine decay to 0.
      progress: called after every update with (updates done, total updates, training error).

    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> schedule, x = schedules.RectifiedFlow(), jnp.ones((16, 1))
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=0.5), schedule)
    >>> pairs, held_out = (fine_pairs(jax.random.key(i), denoiser, schedule, x, 1) for i in (0, 1))
    >>> grids = {"even": jnp.linspace(1, 0, 4)}
    >>> tuned = tune(denoiser, schedule, solvers.Euler(), grids, pairs, held_out, steps=30)
    >>> bool(tuned.after < tuned.before), tuned.ts.shape, tuned.trials["even"] == Trial(tuned.before, tuned.after)
    (True, (4,), True)
    """
    grids = {name: wide(ts) for name, ts in grids.items()}
    batches = _check(schedule, solver, grids, pairs, held_out)
    denoiser, t_max = as_pytree(denoiser), jnp.max(jnp.stack([ts[0] for ts in grids.values()]))
    # XLA on CPU differentiates a convolution many times slower inside a loop than outside.
    unroll = jax.default_backend() == "cpu"
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    )

    def built(params, ts):
        """The grid and solver of these parameters; ``ts`` is the starting grid, whose fixed ends are kept."""
        logits, adjustments = params
        ts = logits_to_grid(schedule, logits, t_max if free_start else ts[0], ts[-1], free_start=free_start)
        return ts, adjusted(solver, schedule, ts, adjustments) if coefficients else solver

    def objective(params, ts, denoiser, batch):
        ts, made = built(params, ts)
        return _log_power_mean(_distances(denoiser, schedule, made, ts, *batch, unroll=unroll), power)

    @jax.jit
    def update(params, state, ts, denoiser, pairs, k):
        batch = jax.tree.map(lambda leaf: leaf[k % batches], pairs)
        value, gradient = jax.value_and_grad(objective)(params, ts, denoiser, batch)
        fine = functools.reduce(jnp.logical_and, [jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)])
        gradient = jax.tree.map(lambda g: jnp.where(fine, g, 0.0), gradient)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, jnp.exp(value)

    @jax.jit
    def error(ts, solver, denoiser, pairs):
        each = jax.lax.map(lambda batch: distances(denoiser, schedule, solver, ts, *batch), pairs)
        value = jnp.exp(_log_power_mean(each.ravel(), power))
        return jnp.where(jnp.isnan(value), jnp.inf, value)

    plain = lambda ts: precomputed(solver, schedule, ts) if coefficients else solver
    trials = {name: Trial(e := error(ts, plain(ts), denoiser, held_out), e) for name, ts in grids.items()}
    order = sorted(trials, key=lambda name: float(trials[name].before))
    chosen = order[:num_starts]
    before = trials[order[0]].before
    found, made, every = [(before, grids[order[0]], solver)], jax.jit(built), max(1, min(25, steps // 4))
    for i, name in enumerate(chosen):
        start, least = grids[name], trials[name].before
        params = (
            grid_to_logits(schedule, start, t_max if free_start else None),
            zero_adjustments(solver, schedule, start) if coefficients else (),
        )
        state = optimizer.init(params)
        for k in range(steps):
            params, state, value = update(params, state, start, denoiser, pairs, k)
            if progress is not None:
                progress(i * steps + k + 1, len(chosen) * steps, float(value))
            if (k + 1) % every == 0 or k + 1 == steps:
                ts, better = made(params, start)
                found.append((error(ts, better, denoiser, held_out), ts, better))
                least = jnp.minimum(least, found[-1][0])
        trials[name] = Trial(trials[name].before, least)
    after, ts, better = min(found, key=lambda entry: float(entry[0]))
    return Tuned(ts, better, before, after, trials)


def _check(schedule, solver, grids, pairs, held_out) -> int:
    """Validates the arguments; returns the number of training batches."""
    if solver.stochastic:
        raise ValueError(
            f"solver must be deterministic to follow the paths of the reference, got {type(solver).__name__}"
        )
    shapes = {name: jnp.shape(ts) for name, ts in grids.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 or shape[0] < 2 for shape in shapes.values()):
        raise ValueError(f"grids must hold at least one array (n + 1,), all of one length, got shapes {shapes}")
    for name, ts in grids.items():
        check_decreasing(schedule, ts, f"grids[{name!r}]")
    for name, given in (("pairs", pairs), ("held_out", held_out)):
        noise, end = (jax.tree.map(jnp.shape, tree) for tree in given)
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(given)]
        if noise != end or any(len(shape) < 2 or 0 in shape for shape in shapes):
            raise ValueError(f"{name} must have noise and end of one shape (N, B, ...), got {noise} and {end}")
        check_floating(**{name: given})
        check_finite(**{name: given})
    if jax.tree.map(lambda x: jnp.shape(x)[1:], pairs) != jax.tree.map(lambda x: jnp.shape(x)[1:], held_out):
        raise ValueError("held_out must hold batches with the structure and shapes of the batches of pairs")
    return jax.tree.leaves(pairs)[0].shape[0]


def _log_power_mean(distance: Array, power: float) -> Array:
    """``log M_p = log(mean(distance^p)) / p`` of positive numbers; ``p = 0`` is its limit, the geometric mean."""
    logs = jnp.log(distance)
    if power == 0:
        return jnp.mean(logs)
    return (jax.nn.logsumexp(power * logs) - math.log(logs.shape[0])) / power

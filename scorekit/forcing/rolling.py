"""Sequences of any length: a window that slides over the frames, the oldest of which are finished first."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import FractionBelowOne, NonNegativeInt, PositiveInt, checked
from scorekit.checks import check_like
from scorekit.forcing import _steps
from scorekit.forcing._checks import check_ends_at_zero, check_solver, frames_of
from scorekit.forcing.levels import pyramid
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.numerics.meshes import scan
from scorekit.process import sample_prior
from scorekit.trees import as_pytree, pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Number, PyTree, Schedule, Solver


class RollState(NamedTuple):
    """The state of a roll-out between two chunks of frames.

    Attributes:
      x: the frames in the window, leaves ``(B, W, ...)``.
      t: levels of the frames in the window, ``(W,)``.
      missing: number of first frames that do not exist: they are noise, at the first level.

    >>> RollState(x=jnp.zeros((2, 3, 4)), t=jnp.array([0.0, 0.5, 1.0]), missing=jnp.array(0)).t.tolist()
    [0.0, 0.5, 1.0]
    """

    x: PyTree
    t: Array
    missing: Array


@pytree_dataclass
class RollOut:
    """A sampler of endless sequences, one chunk at a time; build it with :func:`roll_out`.

    Attributes:
      denoiser: denoiser of windows ``(B, W, ...)`` at times ``(B, W)``.
      schedule: the noise schedule of the denoiser.
      solver: a single-step solver.
      levels: levels of the frames of a window while a chunk is finished, ``(steps + 1, W)``.
      stabilisation: time passed to the denoiser for clean frames, ``alpha(time) x``.
      context: number of finished frames in the window.
      chunk: number of frames that are finished together; divides ``window - context``.

    >>> from scorekit.schedules import Cosine
    >>> from scorekit.solvers import Euler
    >>> from scorekit.typing import Prediction
    >>> independent = lambda x, t: Prediction(0 * x, x)
    >>> sampler = roll_out(independent, Cosine(), Euler(), [1.0, 0.5, 0.25, 0.0], window=4, context=1)
    >>> state = sampler.init(jax.random.key(0), jnp.zeros((2, 1, 4)))  # after one given frame
    >>> state, frames = sampler.step(jax.random.key(1), state)
    >>> frames.shape
    (2, 1, 4)
    """

    denoiser: Denoiser
    schedule: Schedule
    solver: Solver
    levels: Array
    stabilisation: Number
    context: int = static()
    chunk: int = static()

    @property
    def window(self) -> int:
        """Frames that the denoiser sees."""
        return self.levels.shape[1]

    @property
    def delay(self) -> int:
        """Chunks in the window that are not finished, less one: the first steps from a start give nothing new."""
        return (self.window - self.context) // self.chunk - 1

    @checked
    def init(self, key: Key, history: PyTree, length: NonNegativeInt | None = None) -> RollState:
        """The window before the first chunk: given frames before it, and noise where there are none.

        Args:
          key: PRNG key.
          history: frames ``(B, H, ...)``, the last of which are continued.
          length: number of the last frames of the history that exist, at most H; None: all; 0: its values are not used.

        Returns:
          The state, for :meth:`step`.
        """
        batch, given = frames_of("history", history)
        length = given if length is None else length
        if length > given:
            raise ValueError(f"length must be at most the {given} frames of the history, got {length}")
        before = self.window - self.chunk
        kept = min(length, before)
        like = lambda leaf: jax.ShapeDtypeStruct((batch, self.window, *leaf.shape[2:]), leaf.dtype)
        x = sample_prior(key, self.schedule, jax.tree.map(like, history), self.levels[0, -1])
        put = lambda noise, leaf: noise.at[:, before - kept : before].set(leaf[:, given - kept :])
        t = jnp.full(self.window, self.levels[0, -1]).at[before - kept : before].set(0.0)
        return RollState(jax.tree.map(put, x, history) if kept else x, t, jnp.int32(before - kept))

    def step(self, key: Key, state: RollState) -> tuple[RollState, PyTree]:
        """Finishes the oldest chunk that is not, and moves the window on by its frames.

        Args:
          key: PRNG key.
          state: result of :meth:`init` or of the step before.

        Returns:
          ``(state, frames)``, the frames ``(B, chunk, ...)``; the frames of the first ``delay`` steps are from before
          the start.
        """
        for_steps, for_noise = jax.random.split(key)
        exists = jnp.arange(self.window) >= state.missing
        levels = jnp.where(exists, jnp.minimum(self.levels, state.t), state.t)
        keys = jax.random.split(for_steps, len(levels) - 1) if self.solver.stochastic else None

        def body(x, inputs):
            row, t, s, key = inputs
            x = _steps.step(key, self.denoiser, self.schedule, self.solver, x, row, t, s, self.stabilisation)
            return x, None

        rows = _steps.rows_of(self.solver, self.schedule, levels)
        x = scan(body, state.x, (rows, levels[:-1], levels[1:], keys))[0]
        done = jax.tree.map(lambda leaf: leaf[:, self.context : self.context + self.chunk], x)
        first = self.levels[0, -1]
        new = sample_prior(for_noise, self.schedule, jax.tree.map(lambda leaf: leaf[:, : self.chunk], x), first)
        x = jax.tree.map(lambda leaf, n: jnp.concatenate([leaf[:, self.chunk :], n], axis=1), x, new)
        t = jnp.concatenate([levels[-1, self.chunk :], jnp.full(self.chunk, first)])
        return RollState(x, t, jnp.maximum(state.missing - self.chunk, 0)), done


@checked
def roll_out(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    ts: ArrayLike,
    *,
    window: PositiveInt,
    context: NonNegativeInt,
    chunk: PositiveInt = 1,
    stabilisation: FractionBelowOne[float] = 0.0,
) -> RollOut:
    """A sampler of sequences of any length with a denoiser of windows, in memory that does not grow.

    The window holds ``context`` finished frames and m chunks at the levels of a pyramid: of n steps, every chunk is
    ``d = ceil(n / m)`` behind the one before. After d steps the oldest chunk is finished, becomes context, and a chunk
    of noise comes in. ``chunk = 1`` is the finest pyramid; ``chunk = window - context`` denoises one block after the
    other. Frames that are missing before the start are noise, which says nothing.

    The result has the exact distribution, up to the errors of solver and denoiser, if the context determines all that
    the past says of the future (for a Markov chain one frame), the denoiser sees all frames in the window, and
    the first level has no signal.

    Args:
      denoiser: ``(x_t, t) -> Prediction`` of windows ``(B, W, ...)``, with ``t`` of shape ``(B, W)``.
      schedule: the noise schedule of the denoiser.
      solver: a single-step solver.
      ts: decreasing times ``(n + 1,)`` from the most noise to 0.
      window: number of frames W that the denoiser sees, at least ``context + chunk``.
      context: number of finished frames in the window.
      chunk: number of frames that are finished together; divides ``window - context``.
      stabilisation: time passed to the denoiser for clean frames, ``alpha(time) x``.

    Returns:
      A :class:`RollOut`; :func:`sample_long` draws with it, or a loop over ``step``.

    >>> from scorekit.schedules import Cosine
    >>> from scorekit.solvers import Euler
    >>> from scorekit.typing import Prediction
    >>> sampler = roll_out(lambda x, t: Prediction(0 * x, x), Cosine(), Euler(), [1.0, 0.5, 0.0], window=3, context=1)
    >>> sampler.levels.tolist()
    [[0.0, 0.5, 1.0], [0.0, 0.0, 0.5]]

    Source: Chen et al. 2024, "Diffusion forcing" (https://arxiv.org/abs/2407.01392); Ruhe et al. 2024, "Rolling
    diffusion models" (https://arxiv.org/abs/2402.09470).
    """
    ts = check_grid(ts)
    check_ends_at_zero("ts", ts)
    check_solver(solver)
    if window <= context:
        raise ValueError(f"window must be longer than context = {context}, got {window}")
    if (window - context) % chunk:
        raise ValueError(f"chunk must divide the {window - context} frames of window - context, got {chunk}")
    count = (window - context) // chunk
    delay = -(-(ts.shape[0] - 1) // count)
    first = (count - 1) * delay  # the step at which the newest chunk begins
    active = pyramid(ts, window - context, delay, chunk)[first : first + delay + 1]
    levels = jnp.concatenate([jnp.zeros((len(active), context), active.dtype), active], axis=1)
    return RollOut(
        denoiser=as_pytree(denoiser),
        schedule=schedule,
        solver=solver,
        levels=levels,
        stabilisation=stabilisation,
        context=context,
        chunk=chunk,
    )


@checked
def sample_long(key: Key, sampler: RollOut, like: PyTree, history: PyTree | None = None) -> PyTree:
    """Draws sequences with a roll-out, in one ``lax.scan`` over chunks.

    ``state, frames = sampler.step(key_k, state)`` for ``ceil(L / chunk)`` chunks, after the chunks of the start.

    Args:
      key: PRNG key.
      sampler: result of :func:`roll_out`.
      like: arrays or ``jax.ShapeDtypeStruct`` with the shapes ``(B, L, ...)`` and dtypes of the result.
      history: frames before the first one, leaves ``(B, H, ...)``; None: the sequences begin from noise alone.

    Returns:
      The L frames after the history, shaped and typed like ``like``.

    >>> from scorekit.schedules import Cosine
    >>> from scorekit.solvers import Euler
    >>> from scorekit.typing import Prediction
    >>> sampler = roll_out(lambda x, t: Prediction(0 * x, x), Cosine(), Euler(), [1.0, 0.5, 0.0], window=3, context=1)
    >>> jax.jit(sample_long)(jax.random.key(0), sampler, jnp.zeros((2, 7, 3))).shape
    (2, 7, 3)
    """
    _, length = frames_of("like", like)
    frame = lambda tree: jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((leaf.shape[0], *leaf.shape[2:]), leaf.dtype), tree
    )
    if history is not None:
        check_like("like", frame(like), history=frame(history))
    for_start, for_steps = jax.random.split(key)
    if history is None:
        history = jax.tree.map(lambda leaf: jnp.zeros((leaf.shape[0], 1, *leaf.shape[2:]), leaf.dtype), like)
        state = sampler.init(for_start, history, 0)
    else:
        state = sampler.init(for_start, history)
    count = -(-length // sampler.chunk) + sampler.delay
    _, chunks = scan(lambda state, key: sampler.step(key, state), state, jax.random.split(for_steps, count))

    def joined(chunks):
        frames = jnp.moveaxis(chunks[sampler.delay :], 0, 1)
        return frames.reshape(frames.shape[0], -1, *frames.shape[3:])[:, :length]

    return check_samples(jax.tree.map(joined, chunks), schedule=sampler.schedule, ts=sampler.levels, history=history)

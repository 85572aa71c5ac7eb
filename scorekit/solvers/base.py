"""Steps in two halves: numbers that depend on the times alone, and arithmetic with the network.

A solver of this library computes all its numbers for a whole grid at once, before the loop (:meth:`Planned.plan`), so
that the loop holds nothing but the network and one linear combination. Taken by hand, one step at a time, the same
numbers come from the same function (:meth:`Planned.row`). The schedule is evaluated once, on the whole grid.
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.schedules.numerics import as_time
from scorekit.solvers.coordinates import CoordinateName
from scorekit.trees import combine, normal_like
from scorekit.typing import Array, ArrayLike, Prediction, PyTree, Schedule

Coefficient: TypeAlias = Any
"""An array, or None for a term that is never there."""


class Row(NamedTuple):
    """The numbers of one evaluation: ``x_s = x x_t + x0 x0 + eps eps + sum_j history_j slope_j + std z``.

    ``signal`` and ``noise`` say what slope a solver in the "angle"
    coordinate remembers, ``signal x0 + noise eps``.
    """

    t: Array
    x: Coefficient = None
    x0: Coefficient = None
    eps: Coefficient = None
    history: tuple[Array, ...] = ()
    std: Coefficient = None
    signal: Coefficient = None
    noise: Coefficient = None


class Levels(NamedTuple):
    """Times and the schedule there: what the numbers of a step are made of.

    For a step from t to s the last axis holds s, t, and the times before t that a solver looks back at, newest first.
    """

    t: Array
    alpha: Array
    sigma: Array

    def at(self, index) -> "Levels":
        """A part of the last axis: 0 is where the step ends, 1 where it starts, 2 the time before."""
        return Levels(*(value[..., index] for value in self))


def levels_at(schedule: Schedule, t: ArrayLike) -> Levels:
    """The schedule at these times.

    >>> from scorekit.schedules import rectified_flow
    >>> levels_at(rectified_flow(), 0.25).alpha
    Array(0.75, dtype=float32)
    """
    t = as_time(t)
    return Levels(t, *(jnp.broadcast_to(value(t), t.shape) for value in (schedule.alpha, schedule.sigma)))


class Past(NamedTuple):
    """What a solver that looks back carries from step to step: earlier times (newest first), how many, and the rest."""

    times: tuple[Array, ...]
    known: Array
    carry: PyTree


class Planned:
    """A solver in two halves; a subclass gives ``row``, ``start`` and ``advance`` and gets the contract from here.

    ``memory`` is the number of earlier times that ``row`` looks back at; ``known`` of them exist, the others repeat the
    first one.
    """

    memory: int = 0

    def row(self, schedule: Schedule, levels: Levels, known) -> PyTree:
        """Everything about a step that does not depend on x; ``levels`` has a last axis, of ``2 + memory``."""
        raise NotImplementedError

    def start(self, x) -> PyTree:
        """What ``advance`` carries, before the first step."""
        del x
        return ()

    def advance(self, key, carry, x_t, row, denoiser) -> tuple[PyTree, PyTree]:
        """``(x_s, carry)`` from ``x_t`` and the numbers of the step."""
        raise NotImplementedError

    def plan(self, schedule: Schedule, ts: ArrayLike) -> PyTree:
        """The rows of every step of a grid, stacked."""
        grid = levels_at(schedule, ts)
        k = np.arange(grid.t.shape[0] - 1)
        window = np.stack([k + 1, *(np.maximum(k - j, 0) for j in range(1 + self.memory))], axis=-1)
        rows = self.row(schedule, Levels(*(values.at[window].get(mode="promise_in_bounds") for values in grid)), k)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*k.shape, *jnp.shape(leaf)[1:])), rows)

    def init(self, x) -> PyTree:
        if not self.memory:
            return self.start(x)
        return Past((as_time(0.0),) * self.memory, jnp.array(0), self.start(x))

    def step(self, key, state, x_t, t, s, denoiser, schedule) -> tuple[PyTree, PyTree]:
        t, s = as_time(t), as_time(s)
        if not self.memory:
            row = self.row(schedule, levels_at(schedule, jnp.stack([s, t], axis=-1)), 0)
            return self.advance(key, state, x_t, row, denoiser)
        earlier = [jnp.where(j < state.known, time, t) for j, time in enumerate(state.times)]
        row = self.row(schedule, levels_at(schedule, jnp.stack([s, t, *earlier], axis=-1)), state.known)
        x_s, carry = self.advance(key, state.carry, x_t, row, denoiser)
        return x_s, Past((t, *state.times[:-1]), jnp.minimum(state.known + 1, self.memory), carry)


def check_order(order: int, allowed: tuple[int, ...]) -> None:
    """Raises a ``ValueError`` for an order that a solver does not have.

    >>> check_order(5, (1, 2, 3))
    Traceback (most recent call last):
    ValueError: order must be one of (1, 2, 3), got 5
    """
    if order not in allowed:
        raise ValueError(f"order must be one of {allowed}, got {order!r}")


class Linear(Planned):
    """One evaluation a step, combined linearly with ``memory`` remembered slopes, plus noise if the row has any."""

    coordinate: CoordinateName = "flow"

    def start(self, x):
        return (jax.tree.map(jnp.zeros_like, x),) * self.memory

    def mean(self, carry, x_t, row, denoiser) -> tuple[PyTree, PyTree]:
        """The step without its noise, and what is carried on."""
        prediction = denoiser(x_t, row.t)
        mean = weighted(x_t, row, prediction, carry)
        newest = (slope(self.coordinate, prediction, row, x_t),) if self.memory else ()
        return mean, (*newest, *carry[:-1])

    def advance(self, key, carry, x_t, row, denoiser):
        x_s, carry = self.mean(carry, x_t, row, denoiser)
        if row.std is not None:
            x_s = combine((1.0, x_s), (row.std, normal_like(key, x_t)))
        return x_s, carry


def weighted(x_t: PyTree, row: Row, prediction: Prediction, slopes: tuple[PyTree, ...]) -> PyTree:
    """The linear combination of a row, in the precision of ``x_t``."""
    terms = [(row.x, x_t), (row.x0, prediction.x0), (row.eps, prediction.eps), *zip(row.history, slopes, strict=True)]
    return _typed_like(combine(*((c, tree) for c, tree in terms if c is not None)), x_t)


def slope(coordinate: CoordinateName, prediction: Prediction, row: Row, x_t: PyTree) -> PyTree:
    """``d(x / scale) / d clock`` of a coordinate, in the precision of ``x_t``."""
    match coordinate:
        case "signal":
            value = prediction.x0
        case "sigma":
            value = prediction.eps
        case "flow":
            value = combine((1.0, prediction.eps), (-1.0, prediction.x0))
        case _:
            value = combine((row.noise, prediction.eps), (row.signal, prediction.x0))
    return _typed_like(value, x_t)


def _typed_like(tree: PyTree, like: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.asarray(a, jnp.result_type(b)), tree, like)

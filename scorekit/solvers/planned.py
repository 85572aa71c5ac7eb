"""Steps in two halves: numbers that depend on the times alone, and arithmetic with the network.

A solver of this library computes all its numbers for a whole grid at once, before the loop (:meth:`Planned.plan`), so
that the loop holds nothing but the network and one linear combination. Taken by hand, one step at a time, the same
numbers come from the same function (:meth:`Planned.row`).
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from scorekit.schedules.numerics import as_time
from scorekit.solvers.coordinates import CoordinateName
from scorekit.trees import combine, normal_like
from scorekit.typing import Array, Prediction, PyTree

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


class Past(NamedTuple):
    """What a solver that looks back carries from step to step: earlier times (newest first), how many, and the rest."""

    times: tuple[Array, ...]
    known: Array
    carry: PyTree


class Planned:
    """A solver in two halves; a subclass gives ``row``, ``start`` and ``advance`` and gets the contract from here.

    ``memory`` is the number of earlier times that ``row`` looks back at; ``known`` of them exist, the others repeat t.
    """

    memory: int = 0

    def row(self, schedule, t, s, earlier, known) -> PyTree:
        """Everything about the step from t to s that does not depend on x; elementwise in the times."""
        raise NotImplementedError

    def start(self, x) -> PyTree:
        """What ``advance`` carries, before the first step."""
        del x
        return ()

    def advance(self, key, carry, x_t, row, denoiser) -> tuple[PyTree, PyTree]:
        """``(x_s, carry)`` from ``x_t`` and the numbers of the step."""
        raise NotImplementedError

    def plan(self, schedule, ts) -> PyTree:
        """The rows of every step of a grid, stacked."""
        ts = as_time(ts)
        k = jnp.arange(ts.shape[0] - 1)
        earlier = tuple(ts[jnp.maximum(k - j, 0)] for j in range(1, self.memory + 1))
        rows = self.row(schedule, ts[:-1], ts[1:], earlier, k)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*k.shape, *jnp.shape(leaf)[1:])), rows)

    def init(self, x) -> PyTree:
        if not self.memory:
            return self.start(x)
        return Past((as_time(0.0),) * self.memory, jnp.array(0), self.start(x))

    def step(self, key, state, x_t, t, s, denoiser, schedule) -> tuple[PyTree, PyTree]:
        if not self.memory:
            return self.advance(key, state, x_t, self.row(schedule, t, s, (), 0), denoiser)
        t = as_time(t)
        earlier = tuple(jnp.where(j < state.known, time, t) for j, time in enumerate(state.times))
        row = self.row(schedule, t, s, earlier, state.known)
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

"""Contract of all solvers: a step is a *row* of coefficients, computed in advance, and arithmetic with the denoiser.

``row`` computes everything about a step that depends on the times and the schedule alone, for one step or for all
steps of a grid at once (``plan``); ``step`` is the arithmetic with the state and the denoiser. A loop over steps holds
little but the network::

    rows, state = solver.plan(schedule, ts), solver.init(x)
    for k in range(len(ts) - 1):
        row = jax.tree.map(lambda leaf: leaf[k], rows)
        x, state = solver.step(state, x, row, denoiser, key=key)

:func:`scorekit.samplers.sample` is this loop as one ``lax.scan``. A single step at scalar or ``(B,)`` times uses
``solver.row(schedule, jnp.stack([s, t], axis=-1), 0)``.

>>> from scorekit.schedules import RectifiedFlow
>>> step: NoiseLevels = noise_levels(RectifiedFlow(), jnp.array([0.25, 0.5]))  # from t = 0.5 to s = 0.25
>>> float(step.at(0).alpha), float(step.at(1).alpha)
(0.75, 0.5)
"""

import operator
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, NonNegativeInt, checked
from scorekit.checks import check_prediction
from scorekit.numerics import wide
from scorekit.numerics.coordinates import CoordinateName
from scorekit.solvers.steps import stacked_rows
from scorekit.trees import combine, normal_like
from scorekit.typing import Array, ArrayLike, Denoiser, Prediction, PyTree, Schedule, Solver

Coefficient: TypeAlias = Any
"""An array, or ``None`` for a term that is never there."""


class NoiseLevels(NamedTuple):
    """Times and the values of the schedule there.

    For a step from t to s the last axis holds s, t, and the earlier times that a multistep solver looks back at,
    newest first.

    Attributes:
      t: times.
      alpha: signal scale at ``t``, shaped like it.
      sigma: noise scale at ``t``, shaped like it.
    """

    t: Array
    alpha: Array
    sigma: Array

    def at(self, index) -> "NoiseLevels":
        """A part of the last axis: 0 is the end of the step, 1 its start, 2 the time before.

        Args:
          index: an index of the last axis.
        """
        return NoiseLevels(*(value[..., index] for value in self))


@checked
def noise_levels(schedule: Schedule, times: ArrayLike, max_past: NonNegativeInt | None = None) -> NoiseLevels:
    """The schedule at these times.

    Args:
      schedule: the noise schedule.
      times: any shape; for a step the last axis holds s, t and earlier times.
      max_past: number of earlier times to which the last axis is padded by repeating the oldest.

    Returns:
      Times, alpha and sigma, shaped like the (padded) times.
    """
    t = wide(times)
    if max_past is not None and t.shape[-1] < 2 + max_past:
        oldest = jnp.broadcast_to(t[..., -1:], (*t.shape[:-1], 2 + max_past - t.shape[-1]))
        t = jnp.concatenate([t, oldest], axis=-1)
    return NoiseLevels(t, *(jnp.broadcast_to(value(t), t.shape) for value in (schedule.alpha, schedule.sigma)))


class Endpoints(NamedTuple):
    """The row of a solver that does not write its own: times and schedule values at both ends of the step."""

    t: Array
    s: Array
    alpha_t: Array
    sigma_t: Array
    alpha_s: Array
    sigma_s: Array


class SolverBase(Solver):
    """What solvers have in common. A subclass writes ``step``, and ``row`` and ``init`` where these are not enough.

    ``row`` gives the times and schedule values at both ends of the step, ``t, s, alpha_t, sigma_t, alpha_s, sigma_s``;
    the state of ``init`` is empty. The defaults are first order, one evaluation, deterministic, no
    history (:class:`scorekit.typing.Solver`).

    >>> from scorekit import samplers, schedules
    >>> class DDIM(SolverBase):
    ...     def step(self, state, x_t, row, denoiser, *, key=None):
    ...         x0, eps = denoiser(x_t, row.t)
    ...         return row.alpha_s * x0 + row.sigma_s * eps, state
    >>> denoiser = lambda x, t: Prediction(0.5 * x, x)
    >>> samplers.sample(denoiser, schedules.RectifiedFlow(), DDIM(), jnp.ones(1), [1.0, 0.0])
    Array([0.5], dtype=float32)
    """

    order: int = 1
    evals_per_step: int = 1
    stochastic: bool = False
    max_past: int = 0

    def row(self, schedule: Schedule, times: ArrayLike, num_past: ArrayLike) -> Any:
        del num_past
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        return Endpoints(t.t, s.t, t.alpha, t.sigma, s.alpha, s.sigma)

    def plan(self, schedule: Schedule, ts: ArrayLike) -> Any:
        ts = wide(ts)
        k = np.arange(ts.shape[0] - 1)
        window = np.stack([k + 1, *(np.maximum(k - j, 0) for j in range(1 + self.max_past))], axis=-1)
        times = ts.at[window].get(mode="promise_in_bounds")
        return stacked_rows(self, schedule, times, np.minimum(k, self.max_past))

    def init(self, x: PyTree) -> PyTree:
        del x
        return ()


def _of_base(name: str) -> Any:
    """The property that is this attribute of the wrapped solver."""
    return property(operator.attrgetter(f"base.{name}"))


class WrappedSolver(SolverBase):
    """A solver that changes a part of another one, ``base``, whose attributes, state and step it has.

    A subclass has the field ``base``, and writes ``row`` or ``plan``, and what else it changes.

    >>> from scorekit import schedules, solvers
    >>> from scorekit.trees import pytree_dataclass
    >>> @pytree_dataclass
    ... class Repeated(WrappedSolver):  # every step at the times of the first one
    ...     base: SolverBase
    ...     def plan(self, schedule, ts):
    ...         return self.base.plan(schedule, jnp.full(len(ts), ts[0]))
    >>> solver = Repeated(base=solvers.Heun())
    >>> solver.evals_per_step, solver.plan(schedules.RectifiedFlow(), jnp.array([0.5, 0.25]))[0].eps.tolist()
    (2, [0.5])
    """

    base: Solver
    order = _of_base("order")
    evals_per_step = _of_base("evals_per_step")
    stochastic = _of_base("stochastic")
    max_past = _of_base("max_past")

    def init(self, x):
        return self.base.init(x)

    def step(self, state, x_t, row, denoiser, *, key=None):
        return self.base.step(state, x_t, row, denoiser, key=key)


Order: TypeAlias = Annotated[int, Count(1, 4)]
"""The order of a multistep solver."""
Order3: TypeAlias = Annotated[int, Count(1, 3)]


class Row(NamedTuple):
    """Coefficients of one evaluation: ``x_s = x x_t + x0 x0 + eps eps + sum_j history_j slope_j + std z``.

    ``t`` is the time of the evaluation. ``signal`` and ``noise`` define the slope ``signal x0 + noise eps`` in the
    "angle" coordinate.

    Attributes:
      t: the time of the evaluation; of the leading axes of the row, as all coefficients are.
      x: factor of the state ``x_t``.
      x0: factor of the predicted data.
      eps: factor of the predicted noise.
      history: factors of the earlier slopes, newest first.
      std: standard deviation of the noise that is added, or None.
      signal: factor of x0 in the slope.
      noise: factor of eps in the slope.

    >>> from scorekit import solvers
    >>> from scorekit.schedules import RectifiedFlow
    >>> row = solvers.Euler().row(RectifiedFlow(), jnp.array([0.25, 0.5]), 0)
    >>> float(row.x0), float(row.eps)  # x_s = 0.75 x0 + 0.25 eps
    (0.75, 0.25)
    """

    t: Array
    x: Coefficient = None
    x0: Coefficient = None
    eps: Coefficient = None
    history: tuple[Array, ...] = ()
    std: Coefficient = None
    signal: Coefficient = None
    noise: Coefficient = None


class LinearSolver(SolverBase):
    """One evaluation a step, combined linearly with ``max_past`` earlier slopes, plus noise where the row has a std.

    A subclass writes ``row``, which returns a :class:`Row`. The state holds the slopes of earlier steps, newest first.

    Subclasses set ``coordinate``, the coordinate of their slopes.

    >>> from scorekit.schedules import RectifiedFlow
    >>> class Halfway(LinearSolver):
    ...     def row(self, schedule, times, num_past):
    ...         return Row(t=times[..., 1], x=0.5, x0=0.5)
    >>> solver, x = Halfway(), jnp.zeros(1)
    >>> row = solver.row(RectifiedFlow(), jnp.array([0.25, 0.5]), 0)
    >>> solver.step(solver.init(x), x, row, lambda x, t: Prediction(x + 2.0, x))[0]
    Array([1.], dtype=float32)
    >>> solver.combine(x, row, Prediction(x + 2.0, x), ())
    Array([1.], dtype=float32)
    """

    coordinate: CoordinateName = "flow"

    def row(self, schedule: Schedule, times: ArrayLike, num_past: ArrayLike) -> Row:
        """The coefficients of a step."""
        raise NotImplementedError

    def init(self, x):
        return (jax.tree.map(jnp.zeros_like, x),) * self.max_past

    def mean(self, state: PyTree, x_t: PyTree, row: Row, denoiser: Denoiser) -> tuple[PyTree, PyTree]:
        """``(mean, state)``: the step without its noise; the step is ``N(mean, row.std^2)``."""
        prediction = check_prediction(denoiser(x_t, row.t))
        newest = (self.slope(prediction, row, x_t),) if self.max_past else ()
        return self.combine(x_t, row, prediction, state), (*newest, *state[:-1])

    def slope(self, prediction: Prediction, row: Row, x_t: PyTree) -> PyTree:
        """The slope that later steps use, ``d(x / scale) / d clock`` of the solver's coordinate, typed like ``x_t``."""
        return slope(self.coordinate, prediction, row, x_t)

    def combine(self, x_t: PyTree, row: Row, prediction: Prediction, slopes: tuple[PyTree, ...]) -> PyTree:
        """The linear combination of a row without its noise, typed like ``x_t``; ``slopes`` are newest first.

        Args:
          x_t: the state.
          row: the coefficients of the step.
          prediction: the denoiser's ``(x0, eps)`` at ``x_t``.
          slopes: the slopes of earlier steps, newest first.

        Returns:
          The state at s without noise, shaped and typed like ``x_t``.
        """
        return linear_combination(x_t, row, prediction, slopes)

    def step(self, state, x_t, row, denoiser, *, key=None):
        x_s, state = self.mean(state, x_t, row, denoiser)
        if row.std is not None:
            x_s = combine((1.0, x_s), (row.std, normal_like(key, x_t)))
        return x_s, state


def linear_combination(x_t: PyTree, row: Row, prediction: Prediction, slopes: tuple[PyTree, ...]) -> PyTree:
    """``row.x x_t + row.x0 x0 + row.eps eps + sum_j history_j slope_j``, typed like ``x_t``."""
    terms = [(row.x, x_t), (row.x0, prediction.x0), (row.eps, prediction.eps), *zip(row.history, slopes, strict=True)]
    return _typed_like(combine(*((c, tree) for c, tree in terms if c is not None)), x_t)


def slope(coordinate: CoordinateName, prediction: Prediction, row: Row, x_t: PyTree) -> PyTree:
    """``d(x / scale) / d clock`` of a coordinate, typed like ``x_t``."""
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

"""Consistency models: functions that map every point on a path of the probability-flow ODE to its end point.

``f(x_t, t) = alpha(t_min) x0 + sigma(t_min) eps``, where ``(x0, eps)`` is the prediction of the network: at t = t_min
it is ``x_t`` for every network, because ``alpha x0 + sigma eps = x_t``. This is the boundary condition ``c_skip = 1``,
``c_out = 0`` of Song et al. 2023 (https://arxiv.org/abs/2303.01469). Training minimises the difference of f at two
adjacent points of a path.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from scorekit.arguments import Positive, checked
from scorekit.checks import check, check_floating, check_like, check_per_example, check_time
from scorekit.flow_maps._checks import checked_steps
from scorekit.numerics.scales import check_prediction
from scorekit.process import perturb
from scorekit.solvers.ode import Euler
from scorekit.trees import as_pytree, combine, event_size, is_traced, sum_per_example
from scorekit.typing import Array, ArrayLike, Denoiser, Number, PyTree, Schedule, Solver

Distance: TypeAlias = Callable[[PyTree, PyTree], Array]
"""``(a, b) -> (B,)``: the distance between two batches, per example."""
_ROUNDING = 1e-6
"""The largest difference of times that count as equal."""


def _to_end(denoiser, schedule, t_min, x_t, t):
    check_floating(x_t=x_t)
    check_time(t=t)
    check_per_example(x_t, t=t, t_min=t_min)
    prediction = denoiser(x_t, t)
    check_prediction(x_t, prediction)
    return combine((schedule.alpha(t_min), prediction.x0), (schedule.sigma(t_min), prediction.eps))


@checked
def consistency_function(
    denoiser: Denoiser, schedule: Schedule, t_min: ArrayLike = 0.0
) -> Callable[[PyTree, Array], PyTree]:
    """``f(x_t, t) = alpha(t_min) x0 + sigma(t_min) eps``: the end point of a path, predicted by a consistency model.

    ``f(x, t_min) = x`` for any network; without noise at ``t_min`` it is the x0 of the prediction.

    Args:
      denoiser: the consistency model.
      schedule: gives ``alpha`` and ``sigma`` at ``t_min``.
      t_min: the end of the paths; > 0 if the target of the network (x0, score) is not defined without noise.

    Returns:
      f, ``(x_t, t) -> x``, shaped like ``x_t``; it may be passed through ``jit``.

    >>> from scorekit import denoisers, schedules
    >>> denoiser = denoisers.denoiser_from_network(lambda x, t: 7 * x, schedules.EDM())
    >>> consistency_function(denoiser, schedules.EDM())(jnp.ones(1), 0.0).round(5)
    Array([1.], dtype=float32)
    """
    check_time(t_min=t_min)
    return Partial(_to_end, as_pytree(denoiser), schedule, t_min)


def squared_error(a: PyTree, b: PyTree) -> Array:
    """``||a - b||^2 / D`` per example.

    Args:
      a: a batch, leaves ``(B, ...)``.
      b: another batch of the same shapes.

    >>> squared_error(jnp.zeros((1, 2)), jnp.array([[4.0, 4.0]]))
    Array([16.], dtype=float32)
    """
    check_floating(a=a, b=b)
    check_like("a", a, b=b)
    return sum_per_example(jnp.square, jax.tree.map(jnp.subtract, a, b)) / event_size(a)


@checked
def pseudo_huber(a: PyTree, b: PyTree, scale: Positive[Number] = 0.03) -> Array:
    """``sqrt(||a - b||^2 / D + c^2) - c``: quadratic for small errors and linear for large ones.

    Args:
      a: a batch, leaves ``(B, ...)``.
      b: another batch of the same shapes.
      scale: c, the root-mean-square error at the transition. The choice of iCT, 0.00054 sqrt(D) for the norm, is
        0.00054 here.

    >>> pseudo_huber(jnp.zeros((1, 2)), jnp.array([[4.0, 4.0]]), scale=3.0)
    Array([2.], dtype=float32)

    Source: Song & Dhariwal 2023 (https://arxiv.org/abs/2310.14189), with the norm as a root mean square.
    """
    squared = squared_error(a, b)
    return squared / (jnp.sqrt(squared + jnp.square(scale)) + scale)  # avoids cancellation


def _loss(student, averaged, schedule, x_t, x_s, t, s, t_min, distance, weight):
    check_per_example(x_t, weight=weight)
    end, averaged_end = (consistency_function(denoiser, schedule, t_min) for denoiser in (student, averaged))
    if not is_traced(t_min):
        check(lambda s: ~(s < np.asarray(t_min) - _ROUNDING), f">= t_min = {t_min}", s=s)
    weight = jnp.where((s > t) | (s < t_min - _ROUNDING), jnp.nan, weight)
    return weight * distance(end(x_t, t), jax.lax.stop_gradient(averaged_end(x_s, s)))


@checked
def consistency_distillation_loss(
    student: Denoiser,
    averaged: Denoiser,
    teacher: Denoiser,
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    t: Array,
    s: Array,
    *,
    solver: Solver | None = None,
    t_min: ArrayLike = 0.0,
    distance: Distance = pseudo_huber,
    weight: ArrayLike = 1.0,
) -> Array:
    """The per-example loss of a student that is trained to be constant along the paths of a teacher.

    ``loss_i = w_i d(f(x_t, t_i), f_averaged(x_s, s_i))`` with ``x_t = alpha x0 + sigma eps`` and ``x_s`` the result of
    one step of the teacher. The loss has no gradient with respect to ``f_averaged`` and the teacher.

    Args:
      student: the consistency model, ``(x_t, t) -> Prediction``.
      averaged: the same model, or a copy with averaged parameters (more stable, but slower); it gets no gradient.
      teacher: the trained denoiser, guided or not.
      schedule: the noise schedule of the models.
      x0: data, leaves ``(B, ...)``.
      eps: standard normal noise shaped like ``x0``.
      t: times ``(B,)``.
      s: the adjacent earlier times ``(B,)``, ``t_min <= s <= t``, for instance from :func:`earlier_time`.
      solver: deterministic solver of the teacher's step; default ``Euler()``. ``Heun()`` is more accurate at twice the
        cost.
      t_min: the time at the end of the paths, a scalar.
      distance: :func:`pseudo_huber`, :func:`squared_error`, or any ``(a, b) -> (B,)``.
      weight: w, a scalar or ``(B,)``, for instance :func:`step_weight`.

    Raises:
      ValueError: for a stochastic solver, or unless ``t_min <= s <= t`` (traced, the losses are NaN).

    >>> from scorekit import denoisers, schedules
    >>> d = denoisers.denoiser_from_network(lambda x, t: 0 * x, schedules.RectifiedFlow())
    >>> t, x = jnp.array([0.5]), jnp.ones((1, 1))
    >>> consistency_distillation_loss(d, d, d, schedules.RectifiedFlow(), x, x, t, t - 0.25).shape
    (1,)

    Source: Song et al. 2023, alg. 2 (https://arxiv.org/abs/2303.01469).
    """
    solver = Euler() if solver is None else solver
    if solver.stochastic:
        raise ValueError(f"solver must be deterministic, got {type(solver).__name__}")
    t, s = checked_steps(x0, t, s)
    x_t = perturb(schedule, x0, eps, t)
    row = solver.row(schedule, jnp.stack([s, t], axis=-1), 0)
    x_s, _ = solver.step(solver.init(x_t), x_t, row, teacher)
    return _loss(student, averaged, schedule, x_t, jax.lax.stop_gradient(x_s), t, s, t_min, distance, weight)


@checked
def consistency_training_loss(
    student: Denoiser,
    averaged: Denoiser,
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    t: Array,
    s: Array,
    *,
    t_min: ArrayLike = 0.0,
    distance: Distance = pseudo_huber,
    weight: ArrayLike = 1.0,
) -> Array:
    """:func:`consistency_distillation_loss` without a teacher: ``x_s = alpha_s x0 + sigma_s eps`` with the same noise.

    One draw of ``(x0, eps)`` replaces the teacher's mean over them: in the limit of short steps the gradient has the
    same expectation and more variance; for long steps it is biased, which a :func:`curriculum` reduces. Pass the
    model itself as ``averaged``: averaging its parameters is worse (Song & Dhariwal 2023).

    Args:
      student: the consistency model, ``(x_t, t) -> Prediction``.
      averaged: the model that is evaluated at s, normally ``student`` itself; it gets no gradient.
      schedule: the noise schedule of the models.
      x0: data, leaves ``(B, ...)``.
      eps: standard normal noise shaped like ``x0``.
      t: times ``(B,)``.
      s: the adjacent earlier times ``(B,)``, ``t_min <= s <= t``, for instance from :func:`earlier_time`.
      t_min: the time at the end of the paths, a scalar.
      distance: :func:`pseudo_huber`, :func:`squared_error`, or any ``(a, b) -> (B,)``.
      weight: w, a scalar or ``(B,)``, for instance :func:`step_weight`.

    >>> from scorekit import denoisers, schedules
    >>> d = denoisers.denoiser_from_network(lambda x, t: 0 * x, schedules.RectifiedFlow())
    >>> t, x = jnp.array([0.5]), jnp.ones((1, 1))  # f = 1/2, then 1
    >>> consistency_training_loss(d, d, schedules.RectifiedFlow(), x, 0 * x, t, 0 * t, distance=squared_error)
    Array([0.25], dtype=float32)

    Source: Song et al. 2023, alg. 3 (https://arxiv.org/abs/2303.01469).
    """
    t, s = checked_steps(x0, t, s)
    x_t, x_s = perturb(schedule, x0, eps, t), perturb(schedule, x0, eps, s)
    return _loss(student, averaged, schedule, x_t, x_s, t, s, t_min, distance, weight)

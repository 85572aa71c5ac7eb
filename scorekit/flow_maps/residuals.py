"""Losses of flow maps: three identities that hold for the map of an ODE, and their residuals as regressions.

In a coordinate ``y = x / scale`` with clock ``tau``, let v be the velocity of the ODE, F the slope of the chord (the
average velocity u in "flow", TrigFlow's F in "angle") and ``dF/dtau`` its derivative along the path, by one
forward-mode derivative (jvp) with the tangents ``(dx/dtau, dt/dtau, 0)``.

===========  ====================================================  ==================================================
residual     identity                                              known as
===========  ====================================================  ==================================================
Eulerian     ``u = v + (rho - tau) du/dtau``: the end of a path    MeanFlow, improved MeanFlow, sCM (s = ``t_min``),
             does not depend on where on it one starts             Eulerian self-distillation
Lagrangian   ``dY/drho = v(Y, rho)``: the end moves with the       Lagrangian (self-)distillation
             velocity there
semigroup    ``X(X(x, t, m), m, s) = X(x, t, s)``: two jumps are   shortcut models, progressive (self-)distillation
             one
===========  ====================================================  ==================================================

v comes from one example and its noise (training from scratch), from a teacher, guided or not, or from the map itself at
s = t. At s = t every residual is ``u - v``: flow matching.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from scorekit.arguments import Fraction, NonNegative, Positive, checked
from scorekit.checks import check, check_like, check_per_example
from scorekit.flow_maps._checks import checked_steps, forward_derivative
from scorekit.flow_maps.maps import clock, transport
from scorekit.numerics import clip_to_interior, wide
from scorekit.numerics.coordinates import frame
from scorekit.process import perturb
from scorekit.schedules import time_derivative
from scorekit.trees import combine, event_size, sum_per_example
from scorekit.typing import Array, Denoiser, FlowMap, Number, Prediction, PyTree, Schedule

_LONGEST_STEP = 1.5  # in shortest lengths: between them and the next ones, which are twice as long
_stop = jax.lax.stop_gradient


@checked
def eulerian_loss(
    flow_map: FlowMap,
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    t: Array,
    s: Array,
    *,
    velocity: Denoiser | None = None,
    tangent: Denoiser | None = None,
    coordinate: Literal["flow", "angle"] = "flow",
    warmup: Fraction[Number] = 1.0,
    normalise: Positive[Number] | None = None,
) -> Array:
    """The per-example Eulerian loss ``||F - stop(F - g)||^2 / D``, the regression of MeanFlow and sCM.

    ``g = F - v - r (rho - tau) dF/dtau`` in "flow"; in "angle", with ``d = rho - tau``,
    ``g = cos(d)^2 (F - v) - r sin(d) cos(d) (y + dF/dtau)``. Nothing but F has a gradient.

    * MeanFlow: the defaults. * Improved MeanFlow: ``tangent=flow_map``. * Eulerian self-distillation:
      ``velocity=flow_map``. * Eulerian distillation: ``velocity=teacher``. * sCM: ``coordinate="angle"``,
      ``normalise=0.1``, s the end of the paths, and a warm-up; a consistency model of one time is the map
      ``lambda x, t, s: denoiser(x, t)``.

    Args:
      flow_map: ``(x_t, t, s) -> Prediction``, the map that is trained.
      schedule: the noise schedule of the map.
      x0: data, leaves ``(B, ...)``.
      eps: standard normal noise shaped like ``x0``.
      t: times ``(B,)`` at which the jumps start.
      s: times of the ends ``(B,)``: before t, towards data, or after t, towards noise.
      velocity: the denoiser whose velocity is v; by default the path ``alpha x0 + sigma eps`` of the example.
      tangent: the denoiser along whose velocity F is differentiated; by default v.
      coordinate: "flow" or "angle"; in exact arithmetic, a factor of the loss that depends on the times alone.
      warmup: r, scalar or ``(B,)``; 0 is flow matching.
      normalise: c, to replace g by ``g / (||g|| / sqrt(D) + c)``; None for g itself.

    Raises:
      ValueError: for a network without forward-mode derivative.

    >>> from scorekit import densities, flow_maps, schedules
    >>> exact = flow_maps.exact_map(densities.gaussian(jnp.zeros(1), std=0.5), schedules.Cosine())
    >>> x, t = jnp.ones((2, 1)), jnp.array([0.4, 0.9])
    >>> eulerian_loss(exact, schedules.Cosine(), x, x, t, t - 0.3, velocity=exact).round(3)
    Array([0., 0.], dtype=float32)

    Source: Geng et al. 2025, "Mean flows" (https://arxiv.org/abs/2505.13447); Geng et al. 2025, "Improved mean flows"
    (https://arxiv.org/abs/2512.02012); Lu & Song 2024 (https://arxiv.org/abs/2410.11081).
    """
    t, s = checked_steps(x0, t, s, ordered=False)
    check_per_example(x0, warmup=warmup)
    warmup = jnp.asarray(warmup)
    t, s = clip_to_interior(t), clip_to_interior(s)
    x_t = perturb(schedule, x0, eps, t)
    path = _pair(velocity, x0, eps, x_t, t)
    along = path if tangent is None else _pair(tangent, x0, eps, x_t, t)
    f, change = _derivative_at_start(flow_map, schedule, coordinate, x_t, t, s, along)
    v = _slope(coordinate, schedule, path, t)
    length = clock(schedule, s, coordinate) - clock(schedule, t, coordinate)
    if coordinate == "angle":
        cosine, sine = jnp.cos(length), jnp.sin(length)
        change = combine((1.0, change), (1.0 / frame(coordinate, schedule.alpha(t), schedule.sigma(t)).scale, x_t))
        g = combine((cosine**2, f), (-(cosine**2), v), (-warmup * sine * cosine, change))
    else:
        g = combine((1.0, f), (-1.0, v), (-warmup * length, change))
    g = _stop(g)
    if normalise is not None:
        g = combine((1.0 / (jnp.sqrt(_mean_square(g)) + normalise), g))
    error = jax.tree.map(lambda f, g: f - _stop(f) + g, f, g)
    return _mean_square(error)


@checked
def lagrangian_loss(
    flow_map: FlowMap,
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    t: Array,
    s: Array,
    *,
    velocity: Denoiser | None = None,
) -> Array:
    """The per-example Lagrangian loss ``||u + (rho - tau) du/drho - stop(v(X, s))||^2 / D`` with ``X = X(x_t, t, s)``.

    Self-distillation needs the velocity of the map itself, which flow matching teaches (the loss at s = t of
    :func:`eulerian_loss`, on part of the batch). The gradient flows through u and its derivative.

    Args:
      flow_map: ``(x_t, t, s) -> Prediction``, the map that is trained.
      schedule: the noise schedule of the map.
      x0: data, leaves ``(B, ...)``.
      eps: standard normal noise shaped like ``x0``.
      t: times ``(B,)`` at which the jumps start.
      s: times of the ends ``(B,)``: before t, towards data, or after t, towards noise.
      velocity: the denoiser whose velocity is v, for instance a guided teacher; by default ``flow_map``.

    >>> from scorekit import densities, flow_maps, schedules
    >>> exact = flow_maps.exact_map(densities.gaussian(jnp.zeros(1), std=0.5), schedules.Cosine())
    >>> x, t = jnp.ones((2, 1)), jnp.array([0.4, 0.9])
    >>> lagrangian_loss(exact, schedules.Cosine(), x, x, t, t - 0.3).round(3)
    Array([0., 0.], dtype=float32)

    Source: Boffi et al. 2025, "How to build a consistency model" (https://arxiv.org/abs/2505.18825).
    """
    t, s = checked_steps(x0, t, s, ordered=False)
    t, s = clip_to_interior(t), clip_to_interior(s)
    x_t = perturb(schedule, x0, eps, t)
    rate = time_derivative(lambda s: clock(schedule, s), s)
    average = lambda s: _slope("flow", schedule, _evaluated(flow_map, x_t, t, s), t)
    u, change = forward_derivative(average, (s,), (1.0 / rate,))
    x_s = _stop(transport(flow_map, schedule, x_t, t, s))
    there = _pair(flow_map if velocity is None else velocity, x0, eps, x_s, s)
    length = clock(schedule, s) - clock(schedule, t)
    error = combine((1.0, u), (length, change), (-1.0, _slope("flow", schedule, there, s)))
    return _mean_square(error)


@checked
def semigroup_loss(
    flow_map: FlowMap,
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    t: Array,
    middle: Array,
    s: Array,
    *,
    teacher: FlowMap | None = None,
    shortest: NonNegative[Number] = 0.0,
) -> Array:
    """The per-example semigroup loss ``||u(x_t, t, s) - stop(w u(x_t, t, m) + (1 - w) u(X, m, s))||^2 / D``.

    ``X = X(x_t, t, m)``, and w is the first part of the jump, ``(tau - mu) / (tau - rho)``: two jumps become one. With
    :func:`shortcut_steps` it is the loss of shortcut models, with :func:`middle_time` the loss of progressive
    self-distillation, and with a denoiser as teacher, ``lambda x, t, s: denoiser(x, t)``, progressive distillation.

    Args:
      flow_map: ``(x_t, t, s) -> Prediction``, the map that is trained.
      schedule: the noise schedule of the map.
      x0: data, leaves ``(B, ...)``.
      eps: standard normal noise shaped like ``x0``.
      t: times ``(B,)`` at which the jumps start.
      middle: times m ``(B,)``, between s and t.
      s: times of the ends ``(B,)``: before t, towards data, or after t, towards noise.
      teacher: the map of the two jumps, for instance with averaged parameters or guided; by default ``flow_map``.
      shortest: the least length of the teacher's jumps on the clock; jumps of up to 1.5 times it, whatever the
        rounding of the times, are steps along the velocity of the teacher at s = t.

    Raises:
      ValueError: for a middle time that is not between s and t (traced, the losses are NaN).

    >>> from scorekit import densities, flow_maps, schedules
    >>> exact = flow_maps.exact_map(densities.gaussian(jnp.zeros(1), std=0.5), schedules.Cosine())
    >>> x, t = jnp.ones((2, 1)), jnp.array([0.4, 0.9])
    >>> semigroup_loss(exact, schedules.Cosine(), x, x, t, t - 0.1, t - 0.3).round(3)
    Array([0., 0.], dtype=float32)

    Source: Frans et al. 2024 (https://arxiv.org/abs/2410.12557); Boffi et al. 2025
    (https://arxiv.org/abs/2505.18825).
    """
    t, middle = checked_steps(x0, t, middle, name="middle", ordered=False)
    middle, s = checked_steps(x0, middle, s, above="middle", ordered=False)
    check_per_example(x0, shortest=shortest)
    between = (jnp.minimum(t, s) <= middle) & (middle <= jnp.maximum(t, s))
    check(lambda m: between, f"between s = {s} and t = {t}", middle=middle)
    teacher = flow_map if teacher is None else teacher
    x_t = perturb(schedule, x0, eps, t)
    tau, mu, rho = (clock(schedule, u) for u in (t, middle, s))
    least = _LONGEST_STEP * jnp.asarray(shortest)
    short = lambda length, start, end: jnp.where(jnp.abs(length) <= least, start, end)
    first = _stop(_evaluated(teacher, x_t, t, short(tau - mu, t, middle)))
    x_m = combine((schedule.alpha(middle), first.x0), (schedule.sigma(middle), first.eps))
    second = _stop(_evaluated(teacher, x_m, middle, short(mu - rho, middle, s)))
    slopes = (_slope("flow", schedule, pair, u) for pair, u in ((first, t), (second, middle)))
    moves = tau != rho
    share = jnp.where(moves, (tau - mu) / jnp.where(moves, tau - rho, 1.0), 1.0)
    goal = _stop(combine(*zip((share, 1.0 - share), slopes, strict=True)))
    u = _slope("flow", schedule, _evaluated(flow_map, x_t, t, s), t)
    return jnp.where(between, _mean_square(combine((1.0, u), (-1.0, goal))), jnp.nan)


@checked
def adaptive_weighted(loss: Array, power: NonNegative[Number] = 1.0, offset: Positive[Number] = 0.01) -> Array:
    """``loss stop((loss + c)^-p)``: p = 1 normalises the squared error per example, p = 0 is the loss.

    Args:
      loss: losses ``(B,)``, means over the D values of an example; published offsets for sums are D times as
        large.
      power: p.
      offset: c.

    Raises:
      ValueError: for a negative loss; traced, the result is NaN.

    >>> adaptive_weighted(jnp.array([1.0, 3.0]), offset=1.0)
    Array([0.5 , 0.75], dtype=float32)

    Source: Geng et al. 2025, "Mean flows" (https://arxiv.org/abs/2505.13447).
    """
    check(lambda values: ~(values < 0), ">= 0", loss=loss)  # NaN stays NaN
    loss = jnp.where(jnp.asarray(loss) < 0, jnp.nan, loss)
    return loss * _stop((loss + offset) ** -jnp.asarray(power))


def _evaluated(flow_map, x_t, *times) -> Prediction:
    prediction = flow_map(x_t, *times)
    check_like("x0", Prediction(x_t, x_t), prediction=prediction)
    return prediction


def _pair(velocity, x0, eps, x_t, t) -> Prediction:
    """The direction of the path, without gradient."""
    return _stop(Prediction(x0, eps) if velocity is None else _evaluated(velocity, x_t, t))


def _slope(coordinate, schedule, pair, t) -> PyTree:
    """``d(x / scale) / d clock`` of a pair, in at least float32."""
    at = frame(coordinate, schedule.alpha(t), schedule.sigma(t))
    return combine((at.noise, jax.tree.map(wide, pair.eps)), (at.signal, jax.tree.map(wide, pair.x0)))


def _derivative_at_start(flow_map, schedule, coordinate, x_t, t, s, along):
    """``(F, dF/dtau)`` of the chord to s, where the start moves along a path."""
    rate = time_derivative(lambda t: clock(schedule, t, coordinate), t)
    rates = (time_derivative(value, t) / rate for value in (schedule.alpha, schedule.sigma))
    dx = combine(*zip(rates, along, strict=True))
    dx = jax.tree.map(lambda d, x: d.astype(jnp.result_type(x)), dx, x_t)
    slope = lambda x, t: _slope(coordinate, schedule, _evaluated(flow_map, x, t, s), t)
    return forward_derivative(slope, (x_t, t), (dx, 1.0 / rate))


def _mean_square(tree) -> Array:
    return sum_per_example(jnp.square, tree) / event_size(tree)

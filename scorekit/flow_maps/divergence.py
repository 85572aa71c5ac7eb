"""The log-determinant of a flow map: exactly, by its Jacobian, or by a divergence head in one evaluation.

In the coordinate ``y = x / (alpha + sigma)`` with the clock ``tau = sigma / (alpha + sigma)`` the log-determinant of
``X(x_t, t, s)`` is the integral of the divergence of the velocity along the path,

    ``log |det dX/dx_t| = int_tau^rho div v dl + D log((alpha_s + sigma_s) / (alpha_t + sigma_t))``.

A divergence head is a network ``h`` ``(x_t, t, s) -> (B, ...)``, normally a second output of the network of the map,
with a term for every value of ``x_t``:

    ``int_tau^rho div v dl = (kappa_s - kappa_t) sum_i h_i``  with  ``kappa = log(tau + floor)``.

The divergence of data in a space of fewer dimensions grows like ``1 / tau``; in the clock kappa it is bounded. Both
directions, to data and to noise, are one function.

Source: Ai et al. 2025, "Joint distillation for fast likelihood evaluation and sampling in flow-based models" (F2D2,
https://arxiv.org/abs/2512.02636).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import Fraction, Positive, PositiveInt, checked
from scorekit.checks import check_finite, check_floating, check_like, check_per_example, check_state
from scorekit.densities import Gaussian, Mixture
from scorekit.flow_maps._checks import checked_steps, forward_derivative
from scorekit.flow_maps.consistency import squared_error
from scorekit.flow_maps.exact import exact_map
from scorekit.flow_maps.maps import clock, transport
from scorekit.numerics import clip_to_interior
from scorekit.numerics.coordinates import log_snr_at
from scorekit.numerics.networks import output_like
from scorekit.process import perturb
from scorekit.trees import as_pytree, batch_size, combine, event_size, sum_per_example
from scorekit.typing import Array, Denoiser, FlowMap, LogDet, Number, Prediction, PyTree, Schedule

_stop = jax.lax.stop_gradient


def _kappa(schedule, t, floor):
    return jnp.log(clock(schedule, t) + floor)


def _check(x_t, t, s):
    check_state(x_t, t=t, s=s)
    check_finite(x_t=x_t)


def _from_network(network, schedule, floor, x_t, t, s):
    _check(x_t, t, s)
    terms = sum_per_example(lambda h: h, output_like("output", network, x_t, t, s))
    change = _kappa(schedule, s, floor) - _kappa(schedule, t, floor)
    scales = (jnp.log(schedule.alpha(u) + schedule.sigma(u)) for u in (s, t))
    return change * terms + event_size(x_t) * jnp.subtract(*scales)


@checked
def log_det_from_network(
    network: Callable[[PyTree, Array, Array], PyTree], schedule: Schedule, floor: Positive[Number] = 0.01
) -> LogDet:
    """The log-determinant by a divergence head: one evaluation, shared with the map if both are outputs of one network.

    Args:
      network: the head ``(x_t, t, s) -> h``, shaped like ``x_t``; :func:`divergence_loss` trains it.
      schedule: the noise schedule, which gives the clock.
      floor: the smallest scale of the data in units of the noise, > 0; the same in training and use.

    >>> from scorekit.schedules import Cosine
    >>> log_det_from_network(lambda x, t, s: 0.15 * x, Cosine())(jnp.ones((1, 2)), 0.0, 1.0).round(2)
    Array([1.38], dtype=float32)
    """
    return Partial(_from_network, as_pytree(network), schedule, floor)


def _exact(density, schedule, flow_map, x_t, t, s):
    _check(x_t, t, s)
    x_s, wide = transport(flow_map, schedule, x_t, t, s), lambda u: jnp.broadcast_to(u, (batch_size(x_t),))
    at = jax.vmap(lambda x, u: density.marginal(schedule.alpha(u), schedule.sigma(u)).log_density(x))
    return at(x_t, wide(t)) - at(x_s, wide(s))


@checked
def exact_log_det(density: Gaussian | Mixture, schedule: Schedule, steps: PositiveInt = 64) -> LogDet:
    """The log-determinant of :func:`exact_map`, ``log p_t(x_t) - log p_s(X(x_t, t, s))``: the oracle of heads.

    Args:
      density: the distribution of the data.
      schedule: gives ``alpha`` and ``sigma`` of both densities.
      steps: steps of the integration of the map; not used for a Gaussian.

    >>> from scorekit import densities, schedules
    >>> data = densities.gaussian(jnp.zeros(2), std=0.5)
    >>> exact_log_det(data, schedules.Cosine())(jnp.ones((1, 2)), 0.0, 1.0).round(3)  # 2 log 2
    Array([1.386], dtype=float32)
    """
    if not isinstance(density, Gaussian | Mixture):
        raise ValueError(f"density must be one of Gaussian, Mixture, got {density!r}")
    return Partial(_exact, density, schedule, exact_map(density, schedule, steps))


@checked
def divergence_loss(
    head: Callable[[PyTree, Array, Array], PyTree],
    flow_map: FlowMap,
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    t: Array,
    s: Array,
    *,
    fraction: Fraction[Number],
    probe: PyTree,
    velocity: Denoiser | None = None,
    floor: Positive[Number] = 0.01,
) -> Array:
    """The per-example loss ``||h(x_t, t, s) - stop(z (J z) (tau_r + floor))||^2 / D`` of a divergence head ``(B,)``.

    J is the Jacobian of the velocity at ``X(x_t, t, r)``, r a random time of the jump: ``kappa(r)`` is uniform between
    ``kappa(t)`` and ``kappa(s)``. The mean of the target is the mean diagonal of J along the path, so that
    the sum of the best h is the exact integral, for jumps in both directions. One forward-mode derivative and one
    evaluation of the map, both without gradient; the head has no derivative in its inputs.

    Args:
      head: the head ``(x_t, t, s) -> h``, shaped like ``x_t``.
      flow_map: the map along which the divergence is integrated; it gets no gradient.
      schedule: the noise schedule, which gives the clock.
      x0: data, leaves ``(B, ...)``.
      eps: noise shaped like ``x0``.
      t: times ``(B,)``.
      s: times of the ends ``(B,)``, before or after t.
      fraction: uniform draws ``(B,)``, the place of r on the jump.
      probe: z, random signs shaped like ``x0``.
      velocity: the denoiser whose divergence is integrated, for instance a teacher; by default ``flow_map``.
      floor: the smallest scale of the data in units of the noise, > 0; the same in training and use.

    Raises:
      ValueError: for a network without forward-mode derivative.

    >>> from scorekit import densities, schedules
    >>> from scorekit.flow_maps import exact_map
    >>> exact = exact_map(densities.gaussian(jnp.zeros(1), std=0.5), schedules.RectifiedFlow())
    >>> x, t = jnp.ones((1, 1)), jnp.array([0.5])
    >>> head, draws = lambda x, t, s: 1.2 * (t + 0.01) + 0 * x, {"fraction": t, "probe": x}
    >>> divergence_loss(head, exact, schedules.RectifiedFlow(), x, x, t, t, **draws).round(4)
    Array([0.], dtype=float32)
    """
    t, s = checked_steps(x0, t, s, ordered=False)
    check_floating(probe=probe)
    check_finite(x0=x0, eps=eps)
    check_per_example(x0, fraction=fraction)
    check_like("x0", x0, probe=probe)
    t, s = clip_to_interior(t), clip_to_interior(s)
    x_t, first = perturb(schedule, x0, eps, t), _kappa(schedule, t, floor)
    tau = jnp.exp(first + fraction * (_kappa(schedule, s, floor) - first)) - floor
    r = jnp.clip(schedule.time_at(log_snr_at("flow", tau)), jnp.minimum(t, s), jnp.maximum(t, s))
    r = clip_to_interior(jnp.where(jnp.isnan(r), t, r))
    x_r = _stop(transport(flow_map, schedule, x_t, t, r))
    scale = schedule.alpha(r) + schedule.sigma(r)

    def slope(y):
        pair = (flow_map if velocity is None else velocity)(combine((scale, y)), r)
        check_like("x0", Prediction(x0, x0), prediction=pair)
        return combine((1.0, pair.eps), (-1.0, pair.x0))

    pushed = forward_derivative(slope, (combine((1.0 / scale, x_r)),), (probe,))[1]
    goal = combine((clock(schedule, r) + floor, jax.tree.map(jnp.multiply, probe, pushed)))
    return squared_error(output_like("output", head, x_t, t, s), _stop(goal))

"""Flow maps: from a network of two times to the state at s, and how far a map is from one.

The path from ``x_t`` to ``x_s`` has one pair ``(x0, eps)`` with

    ``alpha_t x0 + sigma_t eps = x_t``  and  ``alpha_s x0 + sigma_s eps = X(x_t, t, s)``,

its chord. A flow map is the function ``(x_t, t, s) -> (x0, eps)``. At s = t the chord is the tangent, and the map the
denoiser of its own ODE. The pair depends neither on the coordinate nor on the target of the network, X is the identity
at s = t for any network, and every schedule is regular at both ends. In the "flow" coordinate
``y = x / (alpha + sigma)``, ``tau = sigma / (alpha + sigma)`` the same map is

    ``Y(y, tau, rho) = y + (rho - tau) u``  with the average velocity  ``u = eps - x0``.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import Finite, checked
from scorekit.checks import check, check_per_example, check_state, check_time
from scorekit.flow_maps.consistency import squared_error
from scorekit.numerics.coordinates import CoordinateName, frame
from scorekit.numerics.networks import output_like
from scorekit.numerics.scales import check_prediction
from scorekit.predictions import Target, TargetName, as_target
from scorekit.trees import as_pytree, combine
from scorekit.typing import Array, ArrayLike, FlowMap, Number, PyTree, Schedule


@checked
def clock(schedule: Schedule, t: ArrayLike, coordinate: CoordinateName = "flow") -> Array:
    """The clock of a coordinate at t, of any shape: ``sigma / (alpha + sigma)`` in "flow", ``atan2(sigma, alpha)`` in
    "angle".

    Args:
      schedule: gives ``alpha`` and ``sigma`` at t.
      t: times in [0, 1] of any shape.
      coordinate: the coordinate; the clock of "sigma" is ``sigma / alpha``.

    >>> from scorekit.schedules import RectifiedFlow
    >>> clock(RectifiedFlow(), 0.25)
    Array(0.25, dtype=float32)
    """
    check_time(t=t)
    return frame(coordinate, schedule.alpha(t), schedule.sigma(t)).clock


def _from_network(network, schedule, target, x_t, t, s=None):
    s = t if s is None else s
    check_state(x_t, t=t, s=s)
    output = output_like("output", network, x_t, t, s)
    return target.to_prediction(output, x_t, jnp.asarray(t), schedule)


@checked
def flow_map_from_network(
    network: Callable[[PyTree, Array, Array], PyTree], schedule: Schedule, target: "TargetName | Target" = "velocity"
) -> FlowMap:
    """A flow map from a network of two times whose output is ``target`` of the chord.

    With the target "velocity" on ``RectifiedFlow`` the state at s is ``X(x_t, t, s) = x_t + (s - t) output``.

    Args:
      network: ``(x_t, t, s) -> output``, shaped like ``x_t``; bind parameters and conditions with
        ``jax.tree_util.Partial``.
      schedule: gives ``alpha`` and ``sigma`` at both times.
      target: the meaning of the output, as for a denoiser: at s = t it is the same. On the schedule ``RectifiedFlow``
        the target "velocity" is MeanFlow's u; on ``Cosine``, "v" is TrigFlow's F.

    >>> from scorekit.schedules import RectifiedFlow
    >>> flow_map_from_network(lambda x, t, s: x, RectifiedFlow())(jnp.ones((1, 2)), 1.0, 0.25).x0
    Array([[0., 0.]], dtype=float32)

    Source: Geng et al. 2025, "Mean flows" (https://arxiv.org/abs/2505.13447).
    """
    return Partial(_from_network, as_pytree(network), schedule, as_target(target))


def _with_clocks(network, schedule, scale, x_t, t, s):
    check_time(t=t, s=s)
    check_per_example(x_t, t=t, s=s)
    tau, rho = clock(schedule, t), clock(schedule, s)
    return network(x_t, scale * tau, scale * (tau - rho))


@checked
def condition_on_clocks(
    network: Callable[[PyTree, Array, Array], PyTree], schedule: Schedule, scale: Finite[Number] = 1.0
) -> Callable[[PyTree, Array, Array], PyTree]:
    """A network of ``(x_t, t, s)`` from one of the clock and the length of the jump: ``scale (tau, tau - rho)``.

    The clock ``sigma / (alpha + sigma)`` is the sigmoid of minus half the log-SNR. Its derivative along a path is
    bounded, unlike the derivative of the log-SNR; and a network trained with one schedule may be sampled with another.

    Args:
      network: ``(x_t, noise_level, span) -> output``.
      schedule: gives the clocks tau and rho of t and s.
      scale: factor of both.

    >>> from scorekit.schedules import RectifiedFlow
    >>> condition_on_clocks(lambda x, level, span: span, RectifiedFlow())(jnp.ones((1, 2)), 1.0, 0.25)
    Array(0.75, dtype=float32)

    Source: Lu & Song 2024, on the noise input of stable consistency models (https://arxiv.org/abs/2410.11081).
    """
    return Partial(_with_clocks, as_pytree(network), schedule, scale)


@checked
def transport(flow_map: FlowMap, schedule: Schedule, x_t: PyTree, t: ArrayLike, s: ArrayLike) -> PyTree:
    """``X(x_t, t, s) = alpha_s x0 + sigma_s eps``: the state at s of the path through ``x_t``.

    Args:
      flow_map: ``(x_t, t, s) -> Prediction``.
      schedule: the noise schedule of the map.
      x_t: the state at t, leaves ``(B, ...)``.
      t: time of the state, a scalar or ``(B,)``.
      s: time of the result, before or after t, a scalar or ``(B,)``.

    >>> from scorekit.schedules import RectifiedFlow
    >>> flow_map = flow_map_from_network(lambda x, t, s: x, RectifiedFlow())
    >>> transport(flow_map, RectifiedFlow(), jnp.ones((1, 2)), 1.0, 0.25)  # x_t + (s - t) output
    Array([[0.25, 0.25]], dtype=float32)
    """
    check_state(x_t, t=t, s=s)
    prediction = flow_map(x_t, jnp.asarray(t), jnp.asarray(s))
    check_prediction(x_t, prediction)
    x_s = combine((schedule.alpha(s), prediction.x0), (schedule.sigma(s), prediction.eps))
    return jax.tree.map(lambda a, b: jnp.asarray(a, jnp.result_type(b)), x_s, x_t)


@checked
def semigroup_error(
    flow_map: FlowMap, schedule: Schedule, x_t: PyTree, t: ArrayLike, middle: ArrayLike, s: ArrayLike
) -> Array:
    """``||X(X(x_t, t, m), m, s) - X(x_t, t, s)||^2 / (D (alpha_s + sigma_s)^2)``: 0 for the map of any ODE.

    A metric ``(B,)`` of trained models that needs neither data nor teacher: the change by a second evaluation. With
    s = t it is the inversion error of a jump to any m and back; else an m that is not between s and t is an error, and
    NaN if traced.

    Args:
      flow_map: ``(x_t, t, s) -> Prediction``.
      schedule: the noise schedule of the map.
      x_t: the state at t, leaves ``(B, ...)``.
      t: time of the state, a scalar or ``(B,)``.
      middle: the time m at which the path is interrupted.
      s: time at the end of the path, a scalar or ``(B,)``.

    >>> from scorekit.schedules import RectifiedFlow
    >>> flow_map = flow_map_from_network(lambda x, t, s: x, RectifiedFlow())
    >>> semigroup_error(flow_map, RectifiedFlow(), jnp.ones((1, 2)), 1.0, 0.5, 0.0)
    Array([0.0625], dtype=float32)

    Source: Boffi et al. 2025, "How to build a consistency model" (https://arxiv.org/abs/2505.18825).
    """
    check_time(t=t, middle=middle, s=s)
    check_per_example(x_t, middle=middle, t=t, s=s)
    low, high = jnp.minimum(t, s), jnp.maximum(t, s)
    inside = ((low <= middle) & (middle <= high)) | (low == high)
    check(lambda m: inside, f"between s = {s} and t = {t}", middle=middle)
    direct = transport(flow_map, schedule, x_t, t, s)
    interrupted = transport(flow_map, schedule, transport(flow_map, schedule, x_t, t, middle), middle, s)
    error = squared_error(interrupted, direct) / jnp.square(schedule.alpha(s) + schedule.sigma(s))
    return jnp.where(inside, error, jnp.nan)

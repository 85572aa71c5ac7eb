"""The density of a flow map: the change of variables by its jumps, in as many evaluations.

``log p(x0) = log N(x_1; 0, sigma(t_max)^2) + sum log |det dX/dx|`` over the jumps from data to noise. It is as good as
the map: exact for the map of the probability-flow ODE.

Source: Ai et al. 2025 (https://arxiv.org/abs/2512.02636).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from scorekit.arguments import Positive, PositiveFraction, PositiveInt, checked
from scorekit.checks import check_finite, check_floating, check_like, check_state
from scorekit.flow_maps.maps import transport
from scorekit.likelihood import LogLikelihood, ModelDensity, model_density
from scorekit.numerics import log_normal
from scorekit.numerics.grids import check_grid
from scorekit.numerics.meshes import scan
from scorekit.trees import as_pytree, batch_size, pytree_dataclass
from scorekit.typing import Array, ArrayLike, FlowMap, LogDet, PyTree, Schedule


def _jacobian(flow_map, schedule, x_t, t, s) -> Array:
    check_state(x_t, t=t, s=s)
    check_finite(x_t=x_t)
    batch = (batch_size(x_t),)

    def one(x, t, s):
        flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[None], x))
        end = lambda flat: ravel_pytree(transport(flow_map, schedule, unravel(flat), t, s))[0]
        return jnp.linalg.slogdet(jax.jacfwd(end)(flat))[1]

    return jax.vmap(one)(x_t, jnp.broadcast_to(t, batch), jnp.broadcast_to(s, batch))


@checked
def jacobian_log_det(flow_map: FlowMap, schedule: Schedule) -> LogDet:
    """The log-determinant of the Jacobian of any flow map, invertible or not: one evaluation with D tangents.

    Args:
      flow_map: ``(x_t, t, s) -> Prediction``, differentiable in ``x_t``.
      schedule: the noise schedule of the map.

    Returns:
      ``(x_t, t, s) -> log |det dX/dx_t|`` in nats, ``(B,)``, which may be passed through ``jit``.

    >>> from scorekit import densities, flow_maps, schedules
    >>> schedule = schedules.RectifiedFlow()
    >>> flow_map = flow_maps.exact_map(densities.gaussian(jnp.zeros(2), std=1.0), schedule)  # its jumps rotate
    >>> round(float(jacobian_log_det(flow_map, schedule)(jnp.ones((1, 2)), 1.0, 0.0)[0]), 3)
    0.0
    """
    return Partial(_jacobian, as_pytree(flow_map), schedule)


@checked
def flow_map_log_likelihood(
    flow_map: FlowMap, schedule: Schedule, x0: PyTree, ts: ArrayLike, *, log_det: LogDet | None = None
) -> LogLikelihood:
    """The log-density ``log p(x0)`` of each example in nats, one jump between each two times.

    Args:
      flow_map: ``(x_t, t, s) -> Prediction``, differentiable in ``x_t``.
      schedule: the noise schedule of the map.
      x0: data with the noise of ``ts[-1]``, leaves ``(B, ...)``; a traced value that is not finite gives NaN.
      ts: decreasing times ``(n + 1,)`` for n jumps, ``[1.0, 0.0]`` for a single one.
      log_det: ``(x_t, t, s) -> (B,)`` in nats, such as :func:`scorekit.flow_maps.log_det_from_network`, without
        tangents; None for :func:`jacobian_log_det`.

    Returns:
      A :class:`scorekit.likelihood.LogLikelihood` with ``nfe`` n and ``standard_error`` 0.

    >>> from scorekit import densities, flow_maps, schedules
    >>> data, schedule, x0 = densities.gaussian(jnp.ones(2), std=0.5), schedules.Cosine(), jnp.zeros((1, 2))
    >>> result = flow_map_log_likelihood(flow_maps.exact_map(data, schedule), schedule, x0, [1.0, 0.5, 0.0])
    >>> result.log_p.round(2), data.log_density(x0).round(2), int(result.nfe)
    (Array([-4.45], dtype=float32), Array([-4.45], dtype=float32), 2)
    """
    check_floating(x0=x0)
    check_finite(x0=x0)
    times = check_grid(ts).astype(jnp.result_type(jnp.float32, *jax.tree.leaves(x0)))[::-1]
    log_det = jacobian_log_det(flow_map, schedule) if log_det is None else log_det
    x_1, total = _jumps(flow_map, schedule, x0, times, log_det)
    prior = log_normal(x_1, schedule.sigma(times[-1]))
    nfe = jnp.array(len(times) - 1)
    return LogLikelihood(prior + total, jnp.zeros_like(prior), prior, total, x_1, nfe, jnp.array(True))


def _jumps(flow_map, schedule, x, times, log_det) -> tuple[PyTree, Array]:
    """The state at the last of the increasing times, and the sum of the log-determinants."""

    def jump(carry, ends):
        x, total = carry
        change = log_det(x, *ends)
        check_like("one value for every example", total, **{"log_det(x_t, t, s)": change})
        return (transport(flow_map, schedule, x, *ends), total + change.astype(total.dtype)), None

    return scan(jump, (x, jnp.zeros(batch_size(x), times.dtype)), (times[:-1], times[1:]))[0]


@pytree_dataclass
class _ByMap:
    log_det: Any

    def __call__(self, density: ModelDensity, x: Array) -> Array:
        x_t, t, log_scale = density.noisy(x)
        ts = jnp.stack([jnp.asarray(density.t_max, t.dtype), t])
        jumped = flow_map_log_likelihood(density.denoiser, density.schedule, x_t, ts, log_det=self.log_det)
        return jumped.log_p + log_scale


@checked
def flow_map_density(
    flow_map: FlowMap,
    schedule: Schedule,
    event_shape: tuple[int, ...],
    noise_std: Positive[float] = 0.01,
    *,
    t_max: PositiveFraction[float] = 1.0,
    steps: PositiveInt = 50,
    log_det: LogDet | None = None,
) -> ModelDensity:
    """The density of a flow map by one jump, ``log N(X(x_t, t, t_max); 0, sigma(t_max)^2) + log |det dX/dx|``.

    Args:
      flow_map: ``(x_t, t, s=t) -> Prediction``; the score is its value at s = t.
      schedule: the noise schedule of the map.
      event_shape: shape of one point.
      noise_std: standard deviation of the noise of the density, in units of the data; it sets the time t.
      t_max: the time at the end of the jump.
      steps: evaluations of the model by :meth:`scorekit.likelihood.ModelDensity.sample`.
      log_det: ``(x_t, t, s) -> (B,)`` in nats, such as :func:`scorekit.flow_maps.log_det_from_network`, without
        tangents; None for :func:`jacobian_log_det`.

    Returns:
      A :class:`scorekit.likelihood.ModelDensity`.

    >>> from scorekit import densities, flow_maps, schedules
    >>> data, schedule, x = densities.gaussian(jnp.ones(2), std=0.5), schedules.Cosine(), jnp.zeros((1, 2))
    >>> density = flow_map_density(flow_maps.exact_map(data, schedule), schedule, (2,))
    >>> density.log_density(x).round(2), data.marginal(1.0, 0.01).log_density(x).round(2)
    (Array([-4.45], dtype=float32), Array([-4.45], dtype=float32))
    """
    value = _ByMap(log_det=jacobian_log_det(flow_map, schedule) if log_det is None else as_pytree(log_det))
    return model_density(value, flow_map, schedule, event_shape, noise_std, t_max=t_max, steps=steps)

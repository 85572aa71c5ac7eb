"""Jumps of flow maps: the state at the end, and the log-determinant. The public names are in :mod:`scorekit.flow_maps`.

Args:
  flow_map: ``(x_t, t, s) -> Prediction``.
  schedule: the noise schedule.
  x_t: the state at t, leaves ``(B, ...)``.
  t: time of the state, scalar or ``(B,)``.
  s: time of the result.

Returns:
  Shaped like ``x_t``, or the function ``(x_t, t, s) -> log |det dX/dx_t|`` in nats, ``(B,)``.

>>> from scorekit.schedules import rectified_flow
>>> flow_map, x_t = lambda x_t, t, s: Prediction(x0=0.0 * x_t, eps=x_t), jnp.ones((1, 2))
>>> transport(flow_map, rectified_flow(), x_t, 1.0, 0.25), jacobian_log_det(flow_map, rectified_flow())(x_t, 1.0, 0.25)
(Array([[0.25, 0.25]], dtype=float32), Array([-2.7725887], dtype=float32))
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from scorekit.arguments import checked
from scorekit.checks import check_finite, check_floating, check_like, check_per_example, check_time
from scorekit.trees import as_pytree, batch_size, combine
from scorekit.typing import Array, ArrayLike, FlowMap, LogDet, Prediction, PyTree, Schedule


def check_jump(x_t: PyTree, t: ArrayLike, s: ArrayLike) -> None:
    check_floating(x_t=x_t)
    check_time(t=t, s=s)
    check_per_example(x_t, t=t, s=s)


@checked
def transport(flow_map: FlowMap, schedule: Schedule, x_t: PyTree, t: ArrayLike, s: ArrayLike) -> PyTree:
    """``X(x_t, t, s) = alpha_s x0 + sigma_s eps``: the state at s of the path through ``x_t``."""
    check_jump(x_t, t, s)
    prediction = flow_map(x_t, jnp.asarray(t), jnp.asarray(s))
    check_like("x_t", Prediction(x_t, x_t), prediction=prediction)
    x_s = combine((schedule.alpha(s), prediction.x0), (schedule.sigma(s), prediction.eps))
    return jax.tree.map(lambda a, b: jnp.asarray(a, jnp.result_type(b)), x_s, x_t)


def _jacobian(flow_map, schedule, x_t, t, s) -> Array:
    check_jump(x_t, t, s)
    check_finite(x_t=x_t)
    batch = (batch_size(x_t),)

    def one(x, t, s):
        flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[None], x))
        end = lambda flat: ravel_pytree(transport(flow_map, schedule, unravel(flat), t, s))[0]
        return jnp.linalg.slogdet(jax.jacfwd(end)(flat))[1]

    return jax.vmap(one)(x_t, jnp.broadcast_to(t, batch), jnp.broadcast_to(s, batch))


@checked
def jacobian_log_det(flow_map: FlowMap, schedule: Schedule) -> LogDet:
    """The log-determinant of the Jacobian of any flow map, invertible or not: one evaluation with D tangents."""
    return Partial(_jacobian, as_pytree(flow_map), schedule)

"""Velocity and score of an interpolant, from the expected parts of a state.

Args:
  interpolant: scales of the state.
  x0: ``E[x0 | x_t]`` or an example, leaves ``(B, ...)``.
  x1: ``E[x1 | x_t]`` or an example, shaped like ``x0``.
  z: ``E[z | x_t]`` or its noise, shaped like ``x0``.

Returns:
  Shaped like z.

>>> from scorekit.interpolants import linear
>>> velocity(jnp.zeros(1), jnp.ones(1), jnp.ones(1), 0.5, linear(noise=3.0)), score(jnp.ones(1), 0.5, linear(noise=1.0))
(Array([1.], dtype=float32), Array([-2.], dtype=float32))

Source: Albergo et al. 2023 (https://arxiv.org/abs/2303.08797).
"""

import jax.numpy as jnp

from scorekit._numerics import clip_to_interior
from scorekit.checks import check_floating, check_like, check_per_example, check_time
from scorekit.interpolants.scales import Interpolant
from scorekit.schedules import time_derivative
from scorekit.trees import combine
from scorekit.typing import ArrayLike, PyTree

__all__ = ["score", "velocity"]


def velocity(x0: PyTree, x1: PyTree, z: PyTree, t: ArrayLike, interpolant: Interpolant) -> PyTree:
    """``alpha' x0 + beta' x1 + gamma' z``; for the expectations given x_t it is the velocity ``dx/dt`` of the ODE.

    The ODE ``dx = v dt`` and every SDE ``dx = (v +- e score) dt + sqrt(2 e) dw``, plus forward and minus backward in
    time, have the marginals of the interpolant.

    Args:
      t: time, scalar or ``(B,)``; at the ends, where gamma' is infinite, a few rounding errors inside.
    """
    check_floating(x0=x0, x1=x1, z=z)
    check_like("x0", x0, x1=x1, z=z)
    check_time(t=t)
    check_per_example(x0, t=t)
    inside = clip_to_interior(t)
    rate = lambda scale: time_derivative(scale, inside)
    return combine((rate(interpolant.alpha), x0), (rate(interpolant.beta), x1), (rate(interpolant.gamma), z))


def score(z: PyTree, t: ArrayLike, interpolant: Interpolant) -> PyTree:
    """``grad_x log p_t(x_t) = -E[z | x_t] / gamma``.

    Args:
      t: time, scalar or ``(B,)``; the score is not finite where gamma is 0.
    """
    check_floating(z=z)
    check_time(t=t)
    check_per_example(z, t=t)
    return combine((-1.0 / interpolant.gamma(jnp.asarray(t)), z))

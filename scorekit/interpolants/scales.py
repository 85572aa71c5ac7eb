"""The scales of an interpolant ``x_t = alpha x0 + beta x1 + gamma z``.

Args:
  noise: twice the noise scale at t = 1/2.
  x0: data at t = 0, leaves ``(B, ...)``.
  x1: data at t = 1, shaped like ``x0``.
  z: standard normal noise shaped like ``x0``.
  t: time, scalar or ``(B,)``.
  interpolant: scales of the state.

Returns:
  An :class:`Interpolant`, or the state.

>>> float(Linear(noise=0.0).beta(0.25)), float(Trigonometric(noise=0.0).alpha(0.0))
(0.25, 1.0)
>>> float(linear(2.0).gamma(0.5)), round(float(trigonometric().alpha(0.5)), 4)
(1.0, 0.7071)
>>> interpolate(jnp.zeros(2), jnp.ones(2), jnp.zeros(2), 0.25, linear())
Array([0.25, 0.25], dtype=float32)

Source: Albergo et al. 2023 (https://arxiv.org/abs/2303.08797).
"""

from typing import Protocol

import jax.numpy as jnp

from scorekit._numerics import wide
from scorekit.arguments import NonNegative, checked
from scorekit.checks import check_floating, check_like, check_per_example, check_time
from scorekit.trees import combine, pytree_dataclass
from scorekit.typing import Array, ArrayLike, PyTree

__all__ = ["Interpolant", "Linear", "Trigonometric", "interpolate", "linear", "trigonometric"]


class Interpolant(Protocol):
    """Three differentiable scales, with ``alpha, beta, gamma = 1, 0, 0`` at t = 0 and ``0, 1, 0`` at t = 1."""

    def alpha(self, t: Array, /) -> Array:
        """The scale of x0 at the times ``t``, of any shape."""
        ...

    def beta(self, t: Array, /) -> Array:
        """The scale of x1."""
        ...

    def gamma(self, t: Array, /) -> Array:
        """The scale of the noise z."""
        ...


class _Bell:
    noise: NonNegative

    def gamma(self, t):
        """The scale of the noise z."""
        t = wide(t)
        return self.noise * jnp.sqrt(jnp.clip(t * (1.0 - t), 0.0))


@pytree_dataclass
class Linear(_Bell):
    """See :func:`linear`."""

    noise: NonNegative = 0.0

    def alpha(self, t):
        """The scale of x0."""
        return 1.0 - wide(t)

    def beta(self, t):
        """The scale of x1."""
        return wide(t)


@pytree_dataclass
class Trigonometric(_Bell):
    """See :func:`trigonometric`."""

    noise: NonNegative = 0.0

    def alpha(self, t):
        """The scale of x0."""
        return jnp.sin(0.5 * jnp.pi * (1.0 - wide(t)))

    def beta(self, t):
        """The scale of x1."""
        return jnp.sin(0.5 * jnp.pi * wide(t))


@checked
def linear(noise: NonNegative = 0.0) -> Linear:
    """``(1 - t) x0 + t x1 + noise sqrt(t (1 - t)) z``: with noise a Brownian bridge, without it a rectified flow.

    Args:
      noise: standard deviation of the Brownian motion.
    """
    return Linear(noise=noise)


@checked
def trigonometric(noise: NonNegative = 0.0) -> Trigonometric:
    """``cos(pi t / 2) x0 + sin(pi t / 2) x1 + noise sqrt(t (1 - t)) z``: keeps the variance of independent ends."""
    return Trigonometric(noise=noise)


def interpolate(x0: PyTree, x1: PyTree, z: PyTree, t: ArrayLike, interpolant: Interpolant) -> PyTree:
    """``x_t = alpha x0 + beta x1 + gamma z``, shaped and typed like ``x0``."""
    check_floating(x0=x0, x1=x1, z=z)
    check_like("x0", x0, x1=x1, z=z)
    check_time(t=t)
    check_per_example(x0, t=t)
    t = jnp.asarray(t)
    return combine((interpolant.alpha(t), x0), (interpolant.beta(t), x1), (interpolant.gamma(t), z))

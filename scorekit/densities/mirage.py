"""The Gaussian mirage: the scale of a Gaussian in many dimensions, with its mass near the mode.

Source: Dieleman 2020, "Addendum: quantifying our flawed intuitions".
"""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, checked
from scorekit.checks import check_axes, check_scalar, check_shape
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, Key, Number, Prediction


@pytree_dataclass
class GaussianMirage:
    """The common misconception of a Gaussian in many dimensions; build it with :func:`gaussian_mirage`.

    ``x = r theta`` with ``r ~ N(0, D)`` and ``theta`` uniform on the unit sphere: the scale of a standard Gaussian, but
    with its mass near the mode, where the density ``~ |x|^(1-D)`` is infinite. Equivalently ``x ~ N(0, D u I)`` with
    ``u ~ Beta(1/2, (D-1)/2)``, a scale mixture, from which the exact denoiser follows by a quadrature over ``u``.

    Attributes:
      dim: number of dimensions D.
      nodes: points of the quadrature, equally spaced in ``log(u / (1 - u))``; enough for D up to 10,000.

    >>> GaussianMirage(dim=2).sample(jax.random.key(0), (5,)).shape
    (5, 2)
    """

    dim: Annotated[int, Count(2)] = static()
    nodes: int = static(default=4096)

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``."""
        check_shape(shape=shape)
        for_radius, for_direction = jax.random.split(key)
        radius = math.sqrt(self.dim) * jax.random.normal(for_radius, (*shape, 1))
        direction = jax.random.normal(for_direction, (*shape, self.dim))
        return radius * direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)

    def log_density(self, x: Array) -> Array:
        """``log p(x)`` in nats; ``(..., D) -> (...)``: the half-normal density of r over the area of its sphere."""
        check_axes(self.dim, x=x)
        squared = jnp.sum(jnp.square(x), axis=-1)
        return self._log_normaliser() - 0.5 * squared / self.dim - 0.5 * (self.dim - 1) * jnp.log(squared)

    def entropy(self) -> Array:
        """Differential entropy in nats, ``1/2 + (D - 1) (log(D / 2) - gamma) / 2`` less the log of the normaliser."""
        mean_log = 0.5 * (math.log(self.dim / 2) - np.euler_gamma)
        return jnp.asarray(0.5 + (self.dim - 1) * mean_log - self._log_normaliser())

    def _log_normaliser(self) -> float:
        return math.lgamma(self.dim / 2) - 0.5 * (math.log(2 * self.dim) + (self.dim + 1) * math.log(math.pi))

    def _posterior(self, squared: Array, alpha: Number, sigma: Number) -> tuple[Array, Array, Array]:
        """The variances ``alpha^2 D u + sigma^2`` at the nodes, and ``log p(u, |x_t|^2)`` less a constant."""
        y = jnp.linspace(-20.0, 20.0, self.nodes)  # u = sigmoid(2 y); the prior falls as exp(y) and exp(-(D - 1) y)
        u = jax.nn.sigmoid(2.0 * y)
        variance = jnp.square(alpha) * self.dim * u + jnp.square(sigma)
        log_prior = 0.5 * jax.nn.log_sigmoid(2.0 * y) + 0.5 * (self.dim - 1) * jax.nn.log_sigmoid(-2.0 * y)
        log_likelihood = -0.5 * (squared[..., None] / variance + self.dim * jnp.log(2 * math.pi * variance))
        return u, variance, log_prior + log_likelihood

    def predict(self, x_t: Array, alpha: Number, sigma: Number) -> Prediction:
        """The exact ``E[x0 | x_t]`` and ``E[eps | x_t]`` for ``sigma > 0``; alpha and sigma are scalars."""
        check_axes(self.dim, x_t=x_t)
        check_scalar(alpha=alpha, sigma=sigma)
        u, variance, log_joint = self._posterior(jnp.sum(jnp.square(x_t), axis=-1), alpha, sigma)
        weights = jax.nn.softmax(log_joint, axis=-1)
        shrink = jnp.sum(weights * alpha * self.dim * u / variance, axis=-1, keepdims=True)
        rest = jnp.sum(weights * sigma / variance, axis=-1, keepdims=True)
        return Prediction(shrink * x_t, rest * x_t)


@checked
def gaussian_mirage(dim: Annotated[int, Count(2)]) -> GaussianMirage:
    """The Gaussian mirage in D dimensions, D >= 2 (in one it is the standard Gaussian).

    ``x = r theta`` with ``r ~ N(0, D)`` and ``theta`` uniform on the unit sphere.

    Args:
      dim: number of dimensions D.

    >>> from scorekit.densities import gaussian
    >>> mirage = gaussian_mirage(100)
    >>> print(f"{mirage.entropy():.3f} {gaussian(jnp.zeros(100), std=1.0).entropy():.3f}")
    81.465 141.894
    """
    return GaussianMirage(dim=dim)

"""Mixtures of Gaussians."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegative, Positive, PositiveInt, checked
from scorekit.checks import check_axes, check_classes, check_scalar, check_shape
from scorekit.densities.gaussian import Gaussian, gaussian
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, ArrayLike, Key, Number, Prediction


@pytree_dataclass
class Mixture:
    """``sum_k weights_k N(m_k, C_k)``; build it with :func:`mixture`.

    Attributes:
      log_weights: ``(K,)``, normalised.
      components: a :class:`Gaussian` whose leaves have a leading axis K.

    >>> m = mixture([1, 1], [gaussian(jnp.zeros(2), std=1.0), gaussian(jnp.full(2, 4.0), std=1.0)])
    >>> m.responsibilities(jnp.full(2, 2.0)).tolist(), m.component(1).mean.tolist()
    ([0.5, 0.5], [4.0, 4.0])
    >>> x, label = m.sample_with_labels(jax.random.key(0), (3,))
    >>> x.shape, label.shape
    ((3, 2), (3,))
    """

    log_weights: Array
    components: Gaussian

    @property
    def dim(self) -> int:
        """The number of dimensions, D."""
        return self.components.basis.shape[1]

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``."""
        return self.sample_with_labels(key, shape)[0]

    def sample_with_labels(self, key: Key, shape: tuple[int, ...] = ()) -> tuple[Array, Array]:
        """Draws ``shape + (D,)`` and the component ``shape`` of each draw.

        Args:
          key: PRNG key.
          shape: leading axes of the draws.
        """
        check_shape(shape=shape)
        pick, draw = jax.random.split(key)
        n = math.prod(shape)
        labels = jax.random.categorical(pick, self.log_weights, shape=(n,))
        each = jax.tree.map(lambda leaf: leaf[labels], self.components)
        x = jax.vmap(lambda k, c: c.sample(k))(jax.random.split(draw, n), each)
        return x.reshape(*shape, self.dim), labels.reshape(shape)

    def log_density(self, x: Array) -> Array:
        """``log p(x)`` in nats; ``(..., D) -> (...)``."""
        return jax.nn.logsumexp(self._log_joint(x), axis=0)

    def _log_joint(self, x: Array) -> Array:
        check_axes(self.dim, x=x)
        log_likelihood = jax.vmap(lambda c: c.log_density(x))(self.components)
        return log_likelihood + self.log_weights.reshape(-1, *([1] * (x.ndim - 1)))

    def responsibilities(self, x: Array) -> Array:
        """``p(component | x)``; ``(..., D) -> (..., K)``.

        Args:
          x: points ``(..., D)``.
        """
        return jnp.moveaxis(jax.nn.softmax(self._log_joint(x), axis=0), 0, -1)

    def component(self, k: Number) -> Gaussian:
        """The k-th Gaussian; NaN for a traced ``k`` out of range.

        Args:
          k: index of the component, from 0 to K - 1.
        """
        check_scalar(k=k)
        check_classes(self.log_weights.shape[0], k=k)
        take = lambda leaf: leaf.at[k].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        return jax.tree.map(take, self.components)

    def marginal(self, alpha: Number, sigma: Number) -> "Mixture":
        """The density of ``alpha x0 + sigma eps``; alpha and sigma are scalars."""
        components = jax.vmap(lambda c: c.marginal(alpha, sigma))(self.components)
        return Mixture(log_weights=self.log_weights, components=components)

    def predict(self, x_t: Array, alpha: Number, sigma: Number) -> Prediction:
        """The exact ``E[x0 | x_t]`` and ``E[eps | x_t]``; alpha and sigma are scalars."""
        check_axes(self.dim, x_t=x_t)
        weights = jax.nn.softmax(self.marginal(alpha, sigma)._log_joint(x_t), axis=0)[..., None]
        each = jax.vmap(lambda c: c.predict(x_t, alpha, sigma))(self.components)
        return jax.tree.map(lambda leaf: jnp.sum(weights * leaf, axis=0), each)


@checked
def mixture(weights: Positive[ArrayLike], components: list[Gaussian]) -> Mixture:
    """A mixture of Gaussians of the same dimension and rank.

    Args:
      weights: weights of the components, ``(K,)``; normalised here.
      components: K Gaussians.

    >>> m = mixture([1, 3], [gaussian(jnp.zeros(2), std=1.0), gaussian(jnp.ones(2), std=1.0)])
    >>> jnp.exp(m.log_weights).tolist(), m.dim
    ([0.25, 0.75], 2)
    """
    weights = jnp.asarray(weights, float)
    if weights.shape != (len(components),) or not components:
        raise ValueError(f"weights must have shape ({len(components)},), one per component, got {weights.shape}")
    shapes = {c.basis.shape for c in components}
    if len(shapes) != 1:
        raise ValueError(f"components must share dimension and rank, got basis shapes {sorted(shapes)}")
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *components)
    return Mixture(log_weights=jnp.log(weights / weights.sum()), components=stacked)


@checked
def ring(num_modes: PositiveInt = 8, radius: NonNegative[float] = 1.4, std: Positive[float] = 0.1) -> Mixture:
    """A mixture of ``num_modes`` isotropic Gaussians on a circle in the plane, mode k at angle ``2 pi k / num_modes``.

    With the defaults each coordinate has a standard deviation close to 1.

    Args:
      num_modes: number of modes K.
      radius: radius of the circle.
      std: standard deviation of each mode.

    >>> ring().dim
    2
    """
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return mixture(np.ones(num_modes), [gaussian(jnp.asarray(m, float), std=std) for m in means])

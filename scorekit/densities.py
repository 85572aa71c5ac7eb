"""Exact distributions: the test oracles and the toy data of the whole project.

A Gaussian's covariance is kept as ``U diag(v) U^T + r (I - U U^T)`` with R orthonormal directions ``U``: R = 0 is
isotropic, R = D is full, anything between is low rank plus a floor; all share one closed form at every (alpha, sigma).
If ``x0 ~ N(m, C)`` then ``x_t ~ N(alpha m, alpha^2 C + sigma^2)`` and, with ``K = alpha^2 C + sigma^2``,

    ``E[x0 | x_t] = m + alpha C K^-1 (x_t - alpha m)``,   ``E[eps | x_t] = sigma K^-1 (x_t - alpha m)``.

Vectors live on the last axis, D long; any leading axes are a batch.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.trees import check, check_positive, pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key, Number, Prediction


@pytree_dataclass
class Gaussian:
    """``N(mean, U diag(variances) U^T + residual (I - U U^T))``; build it with :func:`gaussian`.

    Attributes:
      mean: ``(D,)``.
      basis: U, ``(D, R)`` with orthonormal columns.
      variances: ``(R,)``, the total variance along each column.
      residual: the variance of every other direction.
    """

    mean: Array
    basis: Array
    variances: Array
    residual: Number

    @property
    def dim(self) -> int:
        return self.basis.shape[0]

    def _map(self, x: Array, along: Number, across: Number) -> Array:
        """Multiplies the components along the basis by ``along`` (R,) and the rest by ``across``."""
        inner = x @ self.basis
        if self.variances.shape[-1] == self.dim:  # full rank: there is no rest to cancel
            return (inner * along) @ self.basis.T
        return across * x + (inner * (along - across)) @ self.basis.T

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``."""
        noise = jax.random.normal(key, (*shape, self.dim), self.mean.dtype)
        return self.mean + self._map(noise, jnp.sqrt(self.variances), jnp.sqrt(self.residual))

    def log_density(self, x: Array) -> Array:
        """``log p(x)`` in nats; ``(..., D) -> (...)``."""
        centred = x - self.mean
        inner = centred @ self.basis
        outer = jnp.sum(jnp.square(centred - inner @ self.basis.T), -1)
        quadratic = jnp.sum(jnp.square(inner) / self.variances, -1)
        if self.dim > self.variances.shape[0]:
            quadratic = quadratic + outer / self.residual
        return -0.5 * (quadratic + self._log_det() + self.dim * math.log(2 * math.pi))

    def entropy(self) -> Array:
        """Differential entropy in nats, ``(D (1 + log 2 pi) + log det C) / 2``."""
        return 0.5 * (self._log_det() + self.dim * (1.0 + math.log(2 * math.pi)))

    def _log_det(self) -> Array:
        rest = self.dim - self.variances.shape[0]
        log_residual = rest * jnp.log(self.residual) if rest else 0.0
        return jnp.sum(jnp.log(self.variances)) + log_residual

    def covariance(self) -> Array:
        """The dense covariance, ``(D, D)``."""
        return self._map(jnp.eye(self.dim, dtype=self.mean.dtype), self.variances, self.residual)

    def marginal(self, alpha: Number, sigma: Number) -> "Gaussian":
        """The density of ``alpha x0 + sigma eps``."""
        a, b = jnp.square(alpha), jnp.square(sigma)
        return Gaussian(
            mean=alpha * self.mean,
            basis=self.basis,
            variances=a * self.variances + b,
            residual=a * self.residual + b,
        )

    def predict(self, x_t: Array, alpha: Number, sigma: Number) -> Prediction:
        """The exact ``E[x0 | x_t]`` and ``E[eps | x_t]``; alpha and sigma are scalars."""
        noisy = self.marginal(alpha, sigma)
        centred = x_t - noisy.mean
        x0 = self._map(centred, alpha * self.variances / noisy.variances, alpha * self.residual / noisy.residual)
        eps = self._map(centred, sigma / noisy.variances, sigma / noisy.residual)
        return Prediction(self.mean + x0, eps)

    def flow(self, x: Array, start: tuple[Number, Number], end: tuple[Number, Number]) -> Array:
        """The exact probability-flow map from ``(alpha, sigma) = start`` to ``end``: what an ODE solver must reach.

        ``x -> alpha' m + sqrt(K' / K) (x - alpha m)``.
        """
        before, after = self.marginal(*start), self.marginal(*end)
        along = jnp.sqrt(after.variances / before.variances)
        across = jnp.sqrt(after.residual / before.residual)
        return after.mean + self._map(x - before.mean, along, across)


@pytree_dataclass
class Mixture:
    """``sum_k weights_k N(m_k, C_k)``; build it with :func:`mixture`.

    Attributes:
      log_weights: ``(K,)``, normalised.
      components: a :class:`Gaussian` whose leaves have a leading axis K.
    """

    log_weights: Array
    components: Gaussian

    @property
    def dim(self) -> int:
        return self.components.basis.shape[1]

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``."""
        return self.sample_with_labels(key, shape)[0]

    def sample_with_labels(self, key: Key, shape: tuple[int, ...] = ()) -> tuple[Array, Array]:
        """Draws ``shape + (D,)`` and the component ``shape`` of each draw."""
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
        log_likelihood = jax.vmap(lambda c: c.log_density(x))(self.components)
        return log_likelihood + self.log_weights.reshape(-1, *([1] * (x.ndim - 1)))

    def responsibilities(self, x: Array) -> Array:
        """``p(component | x)``; ``(..., D) -> (..., K)``."""
        return jnp.moveaxis(jax.nn.softmax(self._log_joint(x), axis=0), 0, -1)

    def component(self, k: Number) -> Gaussian:
        """The k-th Gaussian."""
        return jax.tree.map(lambda leaf: leaf[k], self.components)

    def marginal(self, alpha: Number, sigma: Number) -> "Mixture":
        """The density of ``alpha x0 + sigma eps``."""
        components = jax.vmap(lambda c: c.marginal(alpha, sigma))(self.components)
        return Mixture(log_weights=self.log_weights, components=components)

    def predict(self, x_t: Array, alpha: Number, sigma: Number) -> Prediction:
        """The exact ``E[x0 | x_t]`` and ``E[eps | x_t]``; alpha and sigma are scalars."""
        weights = jax.nn.softmax(self.marginal(alpha, sigma)._log_joint(x_t), axis=0)[..., None]
        each = jax.vmap(lambda c: c.predict(x_t, alpha, sigma))(self.components)
        return jax.tree.map(lambda leaf: jnp.sum(weights * leaf, axis=0), each)


def gaussian(
    mean: ArrayLike,
    *,
    std: Number | None = None,
    covariance: ArrayLike | None = None,
    factor: ArrayLike | None = None,
) -> Gaussian:
    """A Gaussian in D dimensions.

    Args:
      mean: ``(D,)``.
      std: standard deviation of every direction (or of those that ``factor`` does not reach), > 0.
      covariance: dense ``(D, D)``, symmetric positive definite; instead of the others.
      factor: F, ``(D, R)`` with R < D: the covariance is ``F F^T + std^2 I``.

    Raises:
      ValueError: unless exactly ``std``, ``covariance`` or ``factor`` with ``std`` is given, with matching shapes.

    >>> g = gaussian(jnp.zeros(3), std=2.0)
    >>> bool(jnp.allclose(g.covariance(), 4 * jnp.eye(3)))
    True
    """
    mean = jnp.asarray(mean, jnp.result_type(mean, float) if isinstance(mean, jax.Array) else float)
    if mean.ndim != 1:
        raise ValueError(f"mean must have shape (D,), got {mean.shape}")
    if (covariance is None) == (std is None) or (factor is not None and std is None):
        raise ValueError(
            "give std, or covariance, or factor together with std; got "
            f"std={std}, covariance={covariance is not None}, factor={factor is not None}"
        )
    d = mean.shape[0]
    if covariance is not None:
        covariance = jnp.asarray(covariance, mean.dtype)
        if covariance.shape != (d, d):
            raise ValueError(f"covariance must have shape {(d, d)}, got {covariance.shape}")
        check(lambda c: np.abs(c - c.T) <= 1e-4 * np.abs(c).max(), "symmetric", covariance=covariance)
        variances, basis = jnp.linalg.eigh(covariance)
        check_positive(covariance_eigenvalues=variances)
        return Gaussian(mean=mean, basis=basis, variances=variances, residual=jnp.ones((), mean.dtype))
    assert std is not None
    check_positive(std=std)
    if jnp.ndim(std) != 0:
        raise ValueError(f"std must be a scalar, got shape {jnp.shape(std)}")
    residual = jnp.square(jnp.asarray(std, mean.dtype))
    if factor is None:
        return Gaussian(
            mean=mean, basis=jnp.zeros((d, 0), mean.dtype), variances=jnp.zeros(0, mean.dtype), residual=residual
        )
    factor = jnp.asarray(factor, mean.dtype)
    if factor.ndim != 2 or factor.shape[0] != d or factor.shape[1] >= d:
        raise ValueError(f"factor must have shape ({d}, R) with R < {d}, got {factor.shape}")
    basis, scales, _ = jnp.linalg.svd(factor, full_matrices=False)
    return Gaussian(mean=mean, basis=basis, variances=jnp.square(scales) + residual, residual=residual)


def mixture(weights: ArrayLike, components: list[Gaussian]) -> Mixture:
    """A mixture of Gaussians of the same dimension and rank.

    Args:
      weights: ``(K,)``, positive; normalised here.
      components: K Gaussians.

    Raises:
      ValueError: if the numbers differ, a weight is not positive, or the shapes of the components differ.

    >>> m = mixture([1, 3], [gaussian(jnp.zeros(2), std=1.0), gaussian(jnp.ones(2), std=1.0)])
    >>> m.sample(jax.random.key(0), (5,)).shape
    (5, 2)
    """
    weights = jnp.asarray(weights, float)
    if weights.shape != (len(components),):
        raise ValueError(f"weights must have shape ({len(components)},), one per component, got {weights.shape}")
    check_positive(weights=weights)
    shapes = {c.basis.shape for c in components}
    if len(shapes) != 1:
        raise ValueError(f"components must share dimension and rank, got basis shapes {sorted(shapes)}")
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *components)
    return Mixture(log_weights=jnp.log(weights / weights.sum()), components=stacked)


def ring(num_modes: int = 8, radius: float = 1.4, std: float = 0.1) -> Mixture:
    """``num_modes`` equal round Gaussians on a circle in the plane; mode k is at angle ``2 pi k / num_modes``.

    With the defaults each coordinate has standard deviation close to 1.

    >>> ring().dim
    2
    """
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return mixture(np.ones(num_modes), [gaussian(jnp.asarray(m, float), std=std) for m in means])


@pytree_dataclass
class GaussianMirage:
    """What a Gaussian in many dimensions is often pictured as; build it with :func:`gaussian_mirage`.

    ``x = r theta`` with ``r ~ N(0, D)`` and ``theta`` uniform on the unit sphere: the scale of a standard Gaussian, but
    with its mass near the mode, where the density ``~ |x|^(1-D)`` is infinite. Equally ``x ~ N(0, D u I)`` with
    ``u ~ Beta(1/2, (D-1)/2)``, a scale mixture, from which the exact denoiser follows by a quadrature over ``u``.

    Attributes:
      dim: D.
      nodes: points of the quadrature, equally spaced in ``log(u / (1 - u))``; enough for D up to 10,000.
    """

    dim: int = static()
    nodes: int = static(default=4096)

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``."""
        for_radius, for_direction = jax.random.split(key)
        radius = math.sqrt(self.dim) * jax.random.normal(for_radius, (*shape, 1))
        direction = jax.random.normal(for_direction, (*shape, self.dim))
        return radius * direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)

    def log_density(self, x: Array) -> Array:
        """``log p(x)`` in nats; ``(..., D) -> (...)``: the half-normal density of r over the area of its sphere."""
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
        u, variance, log_joint = self._posterior(jnp.sum(jnp.square(x_t), axis=-1), alpha, sigma)
        weights = jax.nn.softmax(log_joint, axis=-1)
        shrink = jnp.sum(weights * alpha * self.dim * u / variance, axis=-1, keepdims=True)
        rest = jnp.sum(weights * sigma / variance, axis=-1, keepdims=True)
        return Prediction(shrink * x_t, rest * x_t)


def gaussian_mirage(dim: int) -> GaussianMirage:
    """The Gaussian mirage in D dimensions, D >= 2 (in one it is the standard Gaussian).

    Args:
      dim: D.

    Raises:
      ValueError: if ``dim < 2``.

    >>> mirage = gaussian_mirage(100)
    >>> print(f"{mirage.entropy():.3f} {gaussian(jnp.zeros(100), std=1.0).entropy():.3f}")
    81.465 141.894

    Source: Dieleman 2020, "Addendum: quantifying our flawed intuitions".
    """
    if dim < 2:
        raise ValueError(f"dim must be an integer >= 2, got {dim}")
    return GaussianMirage(dim=dim)

"""Gaussians with full or low-rank covariance.

The covariance is stored as ``U diag(v) U^T + r (I - U U^T)`` with R orthonormal directions ``U``: R = 0 is isotropic,
R = D is full, and anything in between is low rank plus an isotropic residual; all have the same closed form at every
(alpha, sigma). If ``x0 ~ N(m, C)`` then ``x_t ~ N(alpha m, K)`` with ``K = alpha^2 C + sigma^2`` and

    ``E[x0 | x_t] = m + alpha C K^-1 (x_t - alpha m)``,   ``E[eps | x_t] = sigma K^-1 (x_t - alpha m)``.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Positive, checked
from scorekit.checks import check, check_axes, check_finite, check_positive, check_real, check_scalar, check_shape
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, ArrayLike, Key, Number, Prediction


@pytree_dataclass
class Gaussian:
    """``N(mean, U diag(variances) U^T + residual (I - U U^T))``; build it with :func:`gaussian`.

    Attributes:
      mean: the mean, ``(D,)``.
      basis: U, ``(D, R)`` with orthonormal columns.
      variances: ``(R,)``, the total variance along each column.
      residual: variance in every other direction.

    >>> g = Gaussian(mean=jnp.zeros(2), basis=jnp.eye(2)[:, :1], variances=jnp.full(1, 4.0), residual=1.0)
    >>> g.covariance().tolist()
    [[4.0, 0.0], [0.0, 1.0]]
    >>> g.flow(jnp.ones(2), (1.0, 0.0), (0.0, 1.0)).tolist()  # from the data to standard normal noise
    [0.5, 1.0]
    >>> g.chord(jnp.ones(2), (1.0, 0.0), (0.0, 1.0)).eps.tolist()  # the noise in which this path ends
    [0.5, 1.0]
    """

    mean: Array
    basis: Array
    variances: Array
    residual: Number

    @property
    def dim(self) -> int:
        """The number of dimensions, D."""
        return self.basis.shape[0]

    def _map(self, x: Array, along: Number, across: Number) -> Array:
        """Multiplies the components along the basis by ``along`` (R,) and all orthogonal ones by ``across``."""
        inner = x @ self.basis
        if self.variances.shape[-1] == self.dim:  # full rank: there is no orthogonal component
            return (inner * along) @ self.basis.T
        return across * x + (inner * (along - across)) @ self.basis.T

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``."""
        check_shape(shape=shape)
        noise = jax.random.normal(key, (*shape, self.dim), self.mean.dtype)
        return self.mean + self._map(noise, jnp.sqrt(self.variances), jnp.sqrt(self.residual))

    def log_density(self, x: Array) -> Array:
        """``log p(x)`` in nats; ``(..., D) -> (...)``."""
        check_axes(self.dim, x=x)
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
        """The dense covariance ``U diag(variances) U^T + residual (I - U U^T)``, ``(D, D)``."""
        return self._map(jnp.eye(self.dim, dtype=self.mean.dtype), self.variances, self.residual)

    def marginal(self, alpha: Number, sigma: Number) -> "Gaussian":
        """The density of ``alpha x0 + sigma eps``; alpha and sigma are scalars."""
        check_scalar(alpha=alpha, sigma=sigma)
        a, b = jnp.square(alpha), jnp.square(sigma)
        return Gaussian(
            mean=alpha * self.mean,
            basis=self.basis,
            variances=a * self.variances + b,
            residual=a * self.residual + b,
        )

    def predict(self, x_t: Array, alpha: Number, sigma: Number) -> Prediction:
        """The exact ``E[x0 | x_t]`` and ``E[eps | x_t]``; alpha and sigma are scalars."""
        check_axes(self.dim, x_t=x_t)
        noisy = self.marginal(alpha, sigma)
        centred = x_t - noisy.mean
        x0 = self._map(centred, alpha * self.variances / noisy.variances, alpha * self.residual / noisy.residual)
        eps = self._map(centred, sigma / noisy.variances, sigma / noisy.residual)
        return Prediction(self.mean + x0, eps)

    def flow(self, x: Array, start: tuple[Number, Number], end: tuple[Number, Number]) -> Array:
        """The exact probability-flow map from ``(alpha, sigma) = start`` to ``end``, the limit of every ODE solver.

        ``x -> alpha' m + sqrt(K' / K) (x - alpha m)``.

        Args:
          x: states at ``start``, ``(..., D)``.
          start: ``(alpha, sigma)``, scalars.
          end: ``(alpha, sigma)`` of the result.
        """
        check_axes(self.dim, x=x)
        before, after = self.marginal(*start), self.marginal(*end)
        along = jnp.sqrt(after.variances / before.variances)
        across = jnp.sqrt(after.residual / before.residual)
        return after.mean + self._map(x - before.mean, along, across)

    def chord(self, x_t: Array, start: tuple[Number, Number], end: tuple[Number, Number]) -> Prediction:
        """The pair with ``alpha x0 + sigma eps`` equal to ``x_t`` at start and to :meth:`flow` at end.

        At ``end = start`` it is :meth:`predict`. It subtracts no states: with ``g = sqrt(K' / K)`` and
        ``P = alpha sigma' + alpha' sigma``, ``x0 = m + C P / (K (sigma g + sigma')) (x_t - alpha m)`` and
        ``eps = P / (K (alpha g + alpha')) (x_t - alpha m)``.

        Args:
          x_t: states at ``start``, ``(..., D)``.
          start: ``(alpha, sigma)``, scalars.
          end: ``(alpha', sigma')``, scalars.
        """
        check_axes(self.dim, x_t=x_t)
        before, after = self.marginal(*start), self.marginal(*end)
        (alpha, sigma), (alpha_s, sigma_s) = start, end
        mixed = alpha * sigma_s + alpha_s * sigma

        def factors(variance, old, new):
            gain = jnp.sqrt(new / old)
            noise, signal = sigma * gain + sigma_s, alpha * gain + alpha_s
            noisy, clean = noise != 0, signal != 0  # without noise (signal) at both ends the other part is all there is
            x0 = jnp.where(
                noisy, variance * mixed / (old * jnp.where(noisy, noise, 1.0)), 1.0 / jnp.where(noisy, 1.0, alpha)
            )
            eps = jnp.where(clean, mixed / (old * jnp.where(clean, signal, 1.0)), 1.0 / jnp.where(clean, 1.0, sigma))
            return x0, eps

        centred = x_t - before.mean
        along = factors(self.variances, before.variances, after.variances)
        across = factors(self.residual, before.residual, after.residual)
        x0, eps = (self._map(centred, *pair) for pair in zip(along, across, strict=True))
        return Prediction(self.mean + x0, eps)


@checked
def gaussian(
    mean: ArrayLike,
    *,
    std: Positive[float] | None = None,
    covariance: ArrayLike | None = None,
    factor: ArrayLike | None = None,
) -> Gaussian:
    """A Gaussian in D dimensions, given by ``std``, by ``covariance`` or by ``factor`` and ``std``.

    Args:
      mean: the mean, ``(D,)``.
      std: standard deviation in every direction (with ``factor``, of the isotropic part).
      covariance: dense ``(D, D)``, symmetric positive definite; replaces ``std`` and ``factor``.
      factor: F, ``(D, R)`` with R < D: the covariance is ``F F^T + std^2 I``.

    >>> g = gaussian(jnp.zeros(3), std=2.0)
    >>> bool(jnp.allclose(g.covariance(), 4 * jnp.eye(3)))
    True
    """
    check_real(mean=mean, covariance=covariance, factor=factor)
    mean = jnp.asarray(mean, jnp.result_type(mean, float) if isinstance(mean, jax.Array) else float)
    if mean.ndim != 1 or not mean.size:
        raise ValueError(f"mean must have shape (D,) with D >= 1, got {mean.shape}")
    check_finite(mean=mean)
    if (covariance is None) == (std is None) or (factor is not None and std is None):
        raise ValueError(
            "exactly one of std, covariance, or factor together with std must be given, got "
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
    residual = jnp.square(jnp.asarray(std, mean.dtype))
    if factor is None:
        return Gaussian(
            mean=mean, basis=jnp.zeros((d, 0), mean.dtype), variances=jnp.zeros(0, mean.dtype), residual=residual
        )
    factor = jnp.asarray(factor, mean.dtype)
    if factor.ndim != 2 or factor.shape[0] != d or factor.shape[1] >= d:
        raise ValueError(f"factor must have shape ({d}, R) with R < {d}, got {factor.shape}")
    check_finite(factor=factor)
    basis, scales, _ = jnp.linalg.svd(factor, full_matrices=False)
    return Gaussian(mean=mean, basis=basis, variances=jnp.square(scales) + residual, residual=residual)

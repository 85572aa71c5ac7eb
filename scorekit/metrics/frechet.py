"""The Fréchet distance between Gaussian fits."""

import math

import jax
import jax.numpy as jnp

from scorekit.checks import nan_unless_finite
from scorekit.metrics._distances import check_features
from scorekit.typing import Array, ArrayLike

__all__ = ["frechet_distance"]


def frechet_distance(x: ArrayLike, y: ArrayLike) -> Array:
    """The squared Wasserstein-2 distance between Gaussians fitted to two sets.

    ``|m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x^(1/2) S_y S_x^(1/2))^(1/2))``

    With ``S = R^T R`` from a QR factorisation of the centred features, the last trace is the sum of the singular
    values of ``R_x R_y^T``. No covariance is formed, so that float32 suffices and sets may have fewer points than
    dimensions. On Inception features this is the FID of Heusel et al. 2017 (arXiv:1706.08500).

    Args:
      x: features ``(N, D)``, N >= 2.
      y: features ``(M, D)``, M >= 2.

    Returns:
      A scalar, in squared units of the features; covariances are divided by ``N - 1``.

    >>> x = jnp.array([[0.0], [2.0]])
    >>> print(jnp.round(frechet_distance(x, x + 3.0), 4))
    9.0

    Source: Dowson and Landau 1982, "The Fréchet distance between multivariate normal distributions".
    """
    x, y = check_features(2, x=x, y=y)
    factor_x, factor_y = _factor(x), _factor(y)
    product = jnp.matmul(factor_x, factor_y.T, precision=jax.lax.Precision.HIGHEST)
    overlap = jnp.sum(jnp.linalg.svd(product, compute_uv=False))
    shift = jnp.sum((jnp.mean(x, axis=0) - jnp.mean(y, axis=0)) ** 2)
    distance = shift + jnp.sum(factor_x**2) + jnp.sum(factor_y**2) - 2.0 * overlap
    return nan_unless_finite(distance, x, y)


def _factor(x: Array) -> Array:
    """R with ``R^T R`` the covariance of the rows of ``x``."""
    return jnp.linalg.qr(x - jnp.mean(x, axis=0, keepdims=True), mode="r") / math.sqrt(x.shape[0] - 1)

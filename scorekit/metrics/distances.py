"""Distances between the distributions of two sets (energy, Fréchet, sliced Wasserstein), and the diversity of one.

All are scalars, in the units of the features, the Fréchet distance in their square.

>>> x = jnp.array([[0.0], [1.0]])
>>> print(energy_distance(x, x + 3.0), sliced_wasserstein(jax.random.key(0), x, x + 3.0, num_projections=4))
4.0 3.0
>>> print(jnp.round(frechet_distance(x, x + 3.0), 4))
9.0
>>> f"{vendi_score(jnp.eye(3)):.3f} {vendi_score(jnp.ones((3, 2))):.3f}"
'3.000 1.000'
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Positive, PositiveInt, checked
from scorekit.checks import check, nan_unless_finite
from scorekit.metrics._distances import check_features, map_distances
from scorekit.typing import Array, ArrayLike, Key


def energy_distance(x: ArrayLike, y: ArrayLike) -> Array:
    """``2 E|X - Y| - E|X - X'| - E|Y - Y'|``, estimated without bias.

    The last two means exclude the distance of a point to itself (a U-statistic): two sets from one distribution give 0
    on average for any sizes, and single values may be slightly negative. No root is taken.

    Args:
      x: features ``(N, D)``, N >= 2.
      y: features ``(M, D)``, M >= 2.

    Source: Székely and Rizzo 2013, "Energy statistics: a class of statistics based on distances".
    """
    x, y = check_features(2, x=x, y=y)
    across = jnp.mean(map_distances(lambda i, d: jnp.mean(d), x, y))
    return nan_unless_finite(2.0 * across - _spread(x) - _spread(y), x, y)


def _spread(x: Array) -> Array:
    """The mean distance between two different points of ``x``."""
    return jnp.mean(map_distances(lambda i, d: jnp.sum(d.at[i].set(0.0)), x, x)) / (x.shape[0] - 1)


def frechet_distance(x: ArrayLike, y: ArrayLike) -> Array:
    """The squared Wasserstein-2 distance between Gaussians fitted to two sets, with covariances divided by ``N - 1``.

    ``|m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x^(1/2) S_y S_x^(1/2))^(1/2))``

    With ``S = R^T R`` from a QR factorisation of the centred features, the last trace is the sum of the singular
    values of ``R_x R_y^T``. No covariance is formed, so that float32 suffices and sets may have fewer points than
    dimensions. On Inception features this is the FID of Heusel et al. 2017 (arXiv:1706.08500).

    Args:
      x: features ``(N, D)``, N >= 2.
      y: features ``(M, D)``, M >= 2.

    Source: Dowson and Landau 1982, "The Fréchet distance between multivariate normal distributions".
    """
    x, y = check_features(2, x=x, y=y)
    own, other = _factor(x), _factor(y)
    product = jnp.matmul(own, other.T, precision=jax.lax.Precision.HIGHEST)
    overlap = jnp.sum(jnp.linalg.svd(product, compute_uv=False))
    shift = jnp.sum((jnp.mean(x, axis=0) - jnp.mean(y, axis=0)) ** 2)
    return nan_unless_finite(shift + jnp.sum(own**2) + jnp.sum(other**2) - 2.0 * overlap, x, y)


def _factor(x: Array) -> Array:
    """R with ``R^T R`` the covariance of the rows of ``x``."""
    return jnp.linalg.qr(x - jnp.mean(x, axis=0, keepdims=True), mode="r") / math.sqrt(x.shape[0] - 1)


@checked
def sliced_wasserstein(key: Key, x: ArrayLike, y: ArrayLike, num_projections: PositiveInt = 128) -> Array:
    """``sqrt(E_w W_2^2(w.X, w.Y))`` over random unit directions w.

    Each one-dimensional distance is exact for sets of any sizes: the squared difference of both quantile functions is
    integrated over the intervals on which both are constant.

    Args:
      key: PRNG key of the directions; use the same key for distances that are compared.
      x: features ``(N, D)``, N >= 1.
      y: features ``(M, D)``, M >= 1.
      num_projections: the number of directions.

    Source: Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures".
    """
    x, y = check_features(1, x=x, y=y)
    directions = jax.random.normal(key, (x.shape[1], num_projections), x.dtype)
    directions /= jnp.linalg.norm(directions, axis=0, keepdims=True)
    rows_x, rows_y, widths = _pieces(x.shape[0], y.shape[0])
    sorted_x, sorted_y = (
        jnp.sort(jnp.matmul(z, directions, precision=jax.lax.Precision.HIGHEST), axis=0) for z in (x, y)
    )
    squared = (sorted_x[rows_x] - sorted_y[rows_y]) ** 2
    distance = jnp.sqrt(jnp.mean(jnp.sum(squared * widths[:, None].astype(x.dtype), axis=0)))
    return nan_unless_finite(distance, x, y)


def _pieces(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The intervals of [0, 1] on which both quantile functions are constant: the sorted row of each, and the widths.

    The edges are counted in units of ``1 / (n m)``, hence exact.
    """
    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    return edges[:-1] // m, edges[:-1] // n, np.diff(edges) / (n * m)


@checked
def vendi_score(x: ArrayLike, bandwidth: Positive[float] | None = None) -> Array:
    """The effective number of dissimilar points, ``exp(-sum_i l_i log l_i)`` of the eigenvalues of ``K / N``.

    ``K`` holds similarities with ones on its diagonal: cosines, or ``exp(-|x - y|^2 / 2 h^2)``. N orthogonal
    points give N, copies of one point give 1. Only sets of equal size are comparable.

    Args:
      x: features ``(N, D)``; a few thousand at most, for the eigenvalues of an N by N matrix.
      bandwidth: h of the Gaussian similarity, in units of the features; None for cosines (no row may be 0).

    Source: Friedman & Dieng 2023 (https://arxiv.org/abs/2210.02410).
    """
    (x,) = check_features(1, x=x)
    if bandwidth is None:
        norms = jnp.linalg.norm(x, axis=1, keepdims=True)
        check(lambda n: n > 0, "> 0 without a bandwidth", **{"norms of the rows of x": norms})
        unit = x / norms
        similarity = jnp.matmul(unit, unit.T, precision=jax.lax.Precision.HIGHEST)
    else:
        width = jnp.where(jnp.asarray(bandwidth) > 0, bandwidth, jnp.nan)
        similarity = map_distances(lambda i, d: jnp.exp(-0.5 * jnp.square(d.at[i].set(0.0) / width)), x, x)
    shares = jnp.clip(jnp.linalg.eigvalsh(similarity / x.shape[0]), 0.0, 1.0)
    return nan_unless_finite(jnp.exp(jnp.sum(jax.scipy.special.entr(shares))), x)

"""The sliced Wasserstein distance."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import nan_unless_finite
from scorekit.metrics._distances import check_features
from scorekit.typing import Array, ArrayLike, Key

__all__ = ["sliced_wasserstein"]


@checked
def sliced_wasserstein(key: Key, x: ArrayLike, y: ArrayLike, num_projections: PositiveInt = 128) -> Array:
    """``sqrt(E_w W_2^2(w.X, w.Y))`` over random unit directions w.

    Each one-dimensional distance is exact for sets of any sizes: the squared difference of both quantile functions is
    integrated over the intervals on which both are constant (Bonneel et al. 2015).

    Args:
      key: PRNG key of the directions; use the same key for distances that are compared.
      x: features ``(N, D)``.
      y: features ``(M, D)``.
      num_projections: the number of directions.

    Returns:
      A scalar, in the units of the features.

    >>> x = jnp.array([[0.0], [1.0]])
    >>> print(sliced_wasserstein(jax.random.key(0), x, x + 3.0, num_projections=4))
    3.0

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

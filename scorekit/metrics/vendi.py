"""The Vendi score: the diversity of a set, without a reference."""

import jax
import jax.numpy as jnp

from scorekit.arguments import PositiveScalar, checked
from scorekit.checks import check, nan_unless_finite
from scorekit.metrics._distances import check_features, map_distances
from scorekit.typing import Array, ArrayLike

__all__ = ["vendi_score"]


@checked
def vendi_score(x: ArrayLike, bandwidth: PositiveScalar | None = None) -> Array:
    """The effective number of dissimilar points, ``exp(-sum_i l_i log l_i)`` of the eigenvalues of ``K / N``.

    ``K`` holds similarities with ones on its diagonal: cosines, or ``exp(-|x - y|^2 / 2 h^2)``. N orthogonal
    points give N, copies of one point give 1. Only sets of equal size are comparable.

    Args:
      x: features ``(N, D)``; a few thousand at most, for the eigenvalues of an N by N matrix.
      bandwidth: h of the Gaussian similarity, in units of the features; None for cosines (no row may be 0).

    Returns:
      A score in [1, N].

    >>> f"{vendi_score(jnp.eye(3)):.3f} {vendi_score(jnp.ones((3, 2))):.3f}"
    '3.000 1.000'

    Source: Friedman & Dieng 2023 (https://arxiv.org/abs/2210.02410).
    """
    (x,) = check_features(1, x=x)
    if bandwidth is None:
        norms = jnp.linalg.norm(x, axis=1, keepdims=True)
        check(lambda n: n > 0, "> 0 without a bandwidth", **{"norms of the rows of x": norms})
        unit = x / norms
        similarity = jnp.matmul(unit, unit.T, precision=jax.lax.Precision.HIGHEST)
    else:
        bandwidth = jnp.where(jnp.asarray(bandwidth) > 0, bandwidth, jnp.nan)
        similarity = map_distances(lambda i, d: jnp.exp(-0.5 * jnp.square(d.at[i].set(0.0) / bandwidth)), x, x)
    shares = jnp.clip(jnp.linalg.eigvalsh(similarity / x.shape[0]), 0.0, 1.0)
    return nan_unless_finite(jnp.exp(jnp.sum(jax.scipy.special.entr(shares))), x)

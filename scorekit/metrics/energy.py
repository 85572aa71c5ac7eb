"""The energy distance."""

import jax.numpy as jnp

from scorekit.checks import nan_unless_finite
from scorekit.metrics._distances import check_features, map_distances
from scorekit.typing import Array, ArrayLike

__all__ = ["energy_distance"]


def energy_distance(x: ArrayLike, y: ArrayLike) -> Array:
    """``2 E|X - Y| - E|X - X'| - E|Y - Y'|``, estimated without bias.

    The last two means exclude the distance of a point to itself (a U-statistic): two sets from one distribution give 0
    on average for any sizes, and single values may be slightly negative. No root is taken.

    Args:
      x: features ``(N, D)``, N >= 2.
      y: features ``(M, D)``, M >= 2.

    Returns:
      A scalar, in the units of the features.

    >>> print(energy_distance(jnp.array([[0.0], [1.0]]), jnp.array([[3.0], [4.0]])))
    4.0

    Source: Székely and Rizzo 2013, "Energy statistics: a class of statistics based on distances".
    """
    x, y = check_features(2, x=x, y=y)
    across = jnp.mean(map_distances(lambda i, d: jnp.mean(d), x, y))
    return nan_unless_finite(2.0 * across - _spread(x) - _spread(y), x, y)


def _spread(x: Array) -> Array:
    """The mean distance between two different points of ``x``."""
    return jnp.sum(map_distances(lambda i, d: jnp.sum(d.at[i].set(0.0)), x, x)) / (x.shape[0] * (x.shape[0] - 1))

"""Standard errors of statistics without a formula for them, such as a distance between distributions."""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, checked
from scorekit.checks import check_finite, check_real, nan_unless_finite
from scorekit.typing import Array, ArrayLike, PyTree


@checked
def jackknife_error(
    statistic: Callable[[Array], PyTree], x: ArrayLike, num_groups: Annotated[int, Count(2)] = 10
) -> PyTree:
    """The standard error of a statistic, from its values without one group of examples at a time.

    ``sqrt((g - 1) / g sum_i (s_i - mean_j s_j)^2)`` with ``s_i`` the statistic without group i.

    For a mean with one example in each group it is the standard deviation over ``sqrt(N)``. A group has ``N // g``
    examples, every g-th; the up to g - 1 others are never left out. The result is a tree like ``statistic(x)``.

    Args:
      statistic: a function of examples ``(M, ...)``, traced once.
      x: examples ``(N, ...)``, N >= g.
      num_groups: number of groups g.

    >>> error = jackknife_error(jnp.mean, jnp.array([0.0, 2.0, 4.0]), num_groups=3)
    >>> print(f"{error:.4f} {2 / 3**0.5:.4f}")
    1.1547 1.1547

    Source: Miller 1974, "The jackknife - a review".
    """
    check_real(x=x)
    x = jnp.asarray(x, float)
    if x.ndim < 1 or len(x) < num_groups:
        raise ValueError(f"x must be (N, ...) with N >= num_groups = {num_groups}, got {x.shape}")
    check_finite(x=x)
    number = len(x) // num_groups * num_groups
    rows = np.arange(len(x))
    kept = jnp.asarray([rows[(rows % num_groups != i) | (rows >= number)] for i in range(num_groups)])
    values = jax.lax.map(lambda chosen: statistic(x[chosen]), kept)
    error = lambda leaf: jnp.sqrt((num_groups - 1) * jnp.var(leaf, axis=0))
    return nan_unless_finite(jax.tree.map(error, values), x)

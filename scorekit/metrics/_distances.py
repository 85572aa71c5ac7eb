"""Euclidean distances between all rows of two sets, in chunks of rows, and validation of feature arrays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check_finite
from scorekit.typing import Array, ArrayLike, PyTree

CHUNK = 256
"""Number of rows whose distances are in memory at a time."""


def map_distances(fn: Callable[[Array, Array], PyTree], x: Array, y: Array) -> PyTree:
    """``fn(i, distances from x[i] to every y)`` for every row ``i``, stacked.

    Squared distances are found as ``|x|^2 + |y|^2 - 2 x.y`` after moving the mean of ``y`` to the origin; in
    float32, distances below about 1e-3 of the spread of the data are not resolved.

    Args:
      fn: maps a row number and its distances ``(M,)`` to anything.
      x: points ``(N, D)``.
      y: points ``(M, D)``.

    Returns:
      The outputs of ``fn``, stacked along a leading axis ``N``.

    >>> map_distances(lambda i, d: d, jnp.array([[0.0], [4.0]]), jnp.array([[1.0]]))
    Array([[1.],
           [3.]], dtype=float32)
    """
    centre = jnp.mean(y, axis=0, keepdims=True)
    x, y = x - centre, y - centre
    y_squared = jnp.sum(y**2, axis=1)

    def row(numbered: tuple[Array, Array]) -> PyTree:
        i, point = numbered
        product = jnp.matmul(y, point, precision=jax.lax.Precision.HIGHEST)
        squared = jnp.sum(point**2) + y_squared - 2.0 * product
        zero = squared <= 0  # keeps the gradient of the root finite; NaN is not zero
        return fn(i, jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squared))))

    return jax.lax.map(row, (jnp.arange(x.shape[0]), x), batch_size=CHUNK)


def check_rows(least: int, **named: Array | np.ndarray) -> None:
    """Raises ``ValueError`` if one is not ``(N, D)`` with ``N >= least`` and ``D >= 1``, or they differ in ``D``."""
    for name, x in named.items():
        if x.ndim != 2 or x.shape[0] < least or x.shape[1] < 1:
            raise ValueError(f"{name} must be (N, D) with N >= {least} and D >= 1, got {x.shape}")
    if len({x.shape[1] for x in named.values()}) > 1:
        shapes = {name: x.shape for name, x in named.items()}
        raise ValueError(f"features must have the same D, got {shapes}")


def check_features(least: int, **named: ArrayLike) -> list[Array]:
    """The named arrays in float32, or float64 if they are.

    Traced values cannot be checked: pass the result of a metric through :func:`scorekit.checks.nan_unless_finite`.

    Raises:
      ValueError: if one is not ``(N, D)`` with ``N >= least`` and ``D >= 1``, they differ in ``D``, or a concrete value
        is not finite.
    """
    arrays = [jnp.asarray(x) for x in named.values()]
    check_rows(least, **dict(zip(named, arrays, strict=True)))
    arrays = [x if x.dtype == jnp.float64 else x.astype(jnp.float32) for x in arrays]
    check_finite(**dict(zip(named, arrays, strict=True)))
    return arrays


def float64_rows(least: int, **named: ArrayLike) -> list[np.ndarray]:
    """The named arrays in float64, copied.

    Raises:
      ValueError: if one is not ``(N, D)`` with ``N >= least`` and ``D >= 1``, they differ in ``D``, or a value is not
        finite.
    """
    arrays = [np.asarray(x) for x in named.values()]
    check_rows(least, **dict(zip(named, arrays, strict=True)))
    check_finite(**dict(zip(named, arrays, strict=True)))
    return [x.astype(np.float64) for x in arrays]

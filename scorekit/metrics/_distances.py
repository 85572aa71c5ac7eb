"""Euclidean distances between all rows of two sets, in chunks of rows, and validation of feature arrays."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check, check_finite, check_real, nan_unless
from scorekit.typing import Array, ArrayLike, PyTree

CHUNK = 256
"""Number of rows whose distances are in memory at a time."""
LARGEST = float(np.finfo(np.float32).max)
"""The largest feature of a metric in float64, which may take the sixth power."""


def map_distances(fn: Callable[[Array, Array], PyTree], x: Array, y: Array) -> PyTree:
    """``fn(i, distances from x[i] to every y)`` for every row ``i`` of ``x`` ``(N, D)``, stacked; ``y`` is ``(M, D)``.

    Squared distances are ``|x|^2 + |y|^2 - 2 x.y`` after moving the mean of ``y`` to the origin; in float32, distances
    below about 1e-3 of the spread of the data are not resolved.
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
    """The named arrays in float32, or float64 if they are, checked as by :func:`check_rows`, and to be real and finite.

    Traced values cannot be checked: those whose squares overflow become NaN; pass the result of a metric through
    :func:`scorekit.checks.nan_unless_finite`.
    """
    check_real(**named)
    arrays = [jnp.asarray(x) for x in named.values()]
    check_rows(least, **dict(zip(named, arrays, strict=True)))
    arrays = [x if x.dtype == jnp.float64 else x.astype(jnp.float32) for x in arrays]
    check_finite(**dict(zip(named, arrays, strict=True)))
    limits = [math.sqrt(float(jnp.finfo(x.dtype).max) / (8 * x.size)) for x in arrays]  # for sums of squared distances
    fits = [check_largest(limit, **{name: x}) for name, x, limit in zip(named, arrays, limits, strict=True)]
    return [nan_unless(fit, x) for x, fit in zip(arrays, fits, strict=True)]


def float64_rows(least: int, **named: ArrayLike) -> list[np.ndarray]:
    """The named arrays in float64, copied; errors are as in :func:`check_features`."""
    arrays = [np.asarray(x) for x in named.values()]
    check_rows(least, **dict(zip(named, arrays, strict=True)))
    check_finite(**dict(zip(named, arrays, strict=True)))
    arrays = [x.astype(np.float64) for x in arrays]
    for name, x in zip(named, arrays, strict=True):
        check_largest(LARGEST, **{name: x})
    return arrays


def check_largest(limit: float, **named: Array | np.ndarray) -> Array | np.bool_:
    """Whether no value is larger than ``limit``; a ``ValueError`` that names the argument if a concrete one is."""
    ((name, x),) = named.items()
    largest = abs(x).max(initial=0.0)
    allowed = f"at most {limit:.2g}, beyond which the metric overflows"
    check(lambda value: value <= limit, allowed, **{f"the largest absolute value of {name}": largest})
    return largest <= limit

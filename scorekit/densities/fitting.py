"""Densities fitted to data in closed form."""

import math

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegative, NonNegativeInt, checked
from scorekit.checks import check_finite
from scorekit.densities.gaussian import Gaussian
from scorekit.typing import ArrayLike


@checked
def fit_gaussian(x: ArrayLike, rank: NonNegativeInt | None = None, floor: NonNegative[float] = 0.0) -> Gaussian:
    """The Gaussian of maximum likelihood for data, up to the factor N / (N - 1) of the unbiased covariance.

    The covariance is ``U diag(v) U^T + r (I - U U^T)``: U are the first ``rank`` principal directions of the data, v
    the sample variances along them, and r the mean variance of the remaining directions (probabilistic principal
    component analysis), or ``floor^2`` if that is larger. Computed on the host, in float64.

    Args:
      x: data ``(N, D)``, N >= 2; fewer examples than dimensions are allowed.
      rank: number R of principal directions, from 0 (isotropic) to D; None, or D, fits the full covariance.
      floor: lower bound on the standard deviation in every direction. Needed where the data do not vary in all
        directions: with N <= D and a full covariance, for instance.

    >>> fitted = fit_gaussian([[-1.0, 2.0], [1.0, 2.0], [0.0, 3.0], [0.0, 1.0]], rank=0)
    >>> fitted.mean, f"{fitted.residual:.3f}"
    (Array([0., 2.], dtype=float32), '0.667')

    Source: Tipping & Bishop 1999, "Probabilistic principal component analysis".
    """
    check_finite(x=x)
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise ValueError(f"x must have shape (N, D) with N >= 2 and D >= 1, got {x.shape}")
    n, d = x.shape
    kept = d if rank is None else rank
    if kept > d:
        raise ValueError(f"rank must be None or an integer from 0 to D = {d}, got {kept!r}")
    mean = x.mean(axis=0)
    _, scales, directions = np.linalg.svd(x - mean, full_matrices=kept > min(n, d))
    variances = np.zeros(d)
    variances[: len(scales)] = scales**2 / (n - 1)
    residual = max(variances[kept:].mean() if kept < d else 0.0, floor**2)
    variances = np.maximum(variances[:kept], residual)
    lowest = min(variances.min(initial=math.inf), residual if kept < d else math.inf)
    if not lowest > 0:
        raise ValueError(f"floor must be > 0 for data that do not vary in every direction, got {floor}")
    return Gaussian(
        mean=jnp.asarray(mean, float),
        basis=jnp.asarray(directions[:kept].T, float),
        variances=jnp.asarray(variances, float),
        residual=jnp.asarray(residual if kept < d else 1.0, float),
    )

"""Scores of out-of-distribution detection: functions of statistics, fitted on in-distribution calibration statistics.

A score is fitted by a factory on the statistics of calibration data and is then a pure function, a pytree that may be
passed through ``jit``:

    ``score = gaussian_score(calibration)``, ``(N, F)``;   ``score(statistics)``, ``(B, F) -> (B,)``.

Larger scores are further from the calibration data. The calibration data must be in-distribution data that the model
was not trained on. Statistics come from :mod:`scorekit.typicality.statistics`; how well a score separates two data sets
is measured by :mod:`scorekit.metrics`.

========================  ==================================================  ===========================
factory                   score                                               published as
========================  ==================================================  ===========================
``kernel_density_score``  ``-sum_f log p_f``, a density per statistic         DoSE
``gaussian_score``        ``-log p``, one Gaussian over all statistics        MSMA, DiffPath-6D (similar)
``mean_z_score``          mean of the standardised statistics                 DDPM-OOD
========================  ==================================================  ===========================

:func:`decorrelate` is a transformation of the statistics to apply before any of them.

>>> [fit([[0.0, 1.0], [2.0, 5.0]])([[1.0, 5.0]]).tolist() for fit in (standardise, mean_z_score)]
[[[0.0, 1.0]], [0.5]]
>>> import numpy as np
>>> normal, far = np.random.default_rng(0).normal(size=(1000, 2)), jnp.array([[0.0, 0.0], [3.0, 0.0]])
>>> gaussian_score(normal)(far).round(0).tolist()
[2.0, 6.0]
>>> [f"{value:.1f}" for value in kernel_density_score(normal[:, :1])(far[:, :1])]
['1.0', '5.7']
"""

import math

import jax
import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.checks import check
from scorekit.densities import Gaussian, gaussian
from scorekit.trees import pytree_dataclass
from scorekit.typicality._checks import check_statistics
from scorekit.typing import Array, ArrayLike


@pytree_dataclass
class Standardise:
    """``(statistics - mean) / std`` per statistic; build it with :func:`standardise`."""

    mean: Array
    std: Array

    def __call__(self, statistics: ArrayLike) -> Array:
        """``(B, F) -> (B, F)``."""
        return (check_statistics("statistics", statistics, 1, self.mean.shape[0]) - self.mean) / self.std


@pytree_dataclass
class Decorrelate:
    """Standardised statistics in the basis of their principal components; build it with :func:`decorrelate`."""

    standardised: Standardise
    components: Array

    def __call__(self, statistics: ArrayLike) -> Array:
        """``(B, F) -> (B, F)``."""
        return self.standardised(statistics) @ self.components


@pytree_dataclass
class KernelDensityScore:
    """``-log p`` of statistics under kernel density estimates; build it with :func:`kernel_density_score`."""

    points: Array
    bandwidth: Array

    def __call__(self, statistics: ArrayLike) -> Array:
        """``(B, F) -> (B,)``, in nats. The tails are Gaussian."""
        values = check_statistics("statistics", statistics, 1, self.points.shape[1])

        def one(row):
            z = (row - self.points) / self.bandwidth
            return jax.nn.logsumexp(-0.5 * jnp.square(z), axis=0)

        constant = jnp.log(self.bandwidth) + math.log(self.points.shape[0]) + 0.5 * math.log(2 * math.pi)
        return -jnp.sum(jax.lax.map(one, values, batch_size=64) - constant, axis=1)


@pytree_dataclass
class GaussianScore:
    """``-log p`` of standardised statistics under a Gaussian; build it with :func:`gaussian_score`."""

    standardised: Standardise
    density: Gaussian

    def __call__(self, statistics: ArrayLike) -> Array:
        """``(B, F) -> (B,)``, in nats of the standardised statistics."""
        return -self.density.log_density(self.standardised(statistics))


@pytree_dataclass
class MeanZScore:
    """The mean of the standardised statistics; build it with :func:`mean_z_score`."""

    standardised: Standardise

    def __call__(self, statistics: ArrayLike) -> Array:
        """``(B, F) -> (B,)``, in standard deviations."""
        return jnp.mean(self.standardised(statistics), axis=1)


def standardise(calibration: ArrayLike) -> Standardise:
    """The transformation that gives every statistic mean 0 and standard deviation 1 on the calibration data.

    Args:
      calibration: finite statistics ``(N, F)``, N >= 2, no column constant.

    Returns:
      A function from statistics ``(B, F)`` to ``(B, F)``.
    """
    values = check_statistics("calibration", calibration, 2)
    std = jnp.std(values, axis=0)
    check(lambda s: s > 0, "> 0 for every statistic", **{"std of calibration": std})
    return Standardise(mean=jnp.mean(values, axis=0), std=std)


@checked
def decorrelate(calibration: ArrayLike, regularisation: Positive[float] = 1e-3) -> Decorrelate:
    """Principal components of the standardised statistics, each scaled to unit variance.

    ``z U / sqrt(v + regularisation)`` with z the standardised statistics and ``C = U diag(v) U^T`` their covariance. A
    sum of marginal log-densities treats statistics as independent, and statistics at neighbouring noise levels are
    strongly correlated: apply this before :func:`kernel_density_score`.

    Args:
      calibration: finite statistics ``(N, F)``, N >= 2, no column constant.
      regularisation: addend of the variances, in units of a standardised statistic, so that components without variance
        are not amplified.

    Returns:
      A function from statistics ``(B, F)`` to components ``(B, F)``.

    >>> import numpy as np
    >>> calibration = np.random.default_rng(0).normal(size=(1000, 2)) @ [[1.0, 0.5], [0.0, 0.5]]
    >>> bool(np.allclose(np.cov(decorrelate(calibration)(calibration).T), np.eye(2), atol=0.1))
    True

    Source: Hotelling 1933, "Analysis of a complex of statistical variables into principal components".
    """
    standardised = standardise(calibration)
    covariance = jnp.atleast_2d(jnp.cov(standardised(calibration), rowvar=False))
    variances, directions = jnp.linalg.eigh(covariance)
    components = directions / jnp.sqrt(jnp.maximum(variances, 0.0) + regularisation)
    return Decorrelate(standardised=standardised, components=components)


def kernel_density_score(calibration: ArrayLike) -> KernelDensityScore:
    """Minus the log-density of the statistics, ``-sum_f log p_f``, with one kernel density estimate per statistic.

    The kernels are Gaussian, with Silverman's bandwidth ``0.9 min(std, IQR / 1.34) N^(-1/5)`` (1986, eq. 3.31).

    Args:
      calibration: finite statistics ``(N, F)``, N >= 2.

    Source: Morningstar et al. 2021 (https://arxiv.org/abs/2006.09273).
    """
    points = check_statistics("calibration", calibration, 2)
    robust = jnp.subtract(*jnp.quantile(points, jnp.array([0.75, 0.25]), axis=0)) / 1.34
    std = jnp.std(points, axis=0, ddof=1)
    width = jnp.where(robust > 0, jnp.minimum(std, robust), std)
    tiny = jnp.finfo(points.dtype).tiny
    return KernelDensityScore(points=points, bandwidth=jnp.maximum(0.9 * width * points.shape[0] ** -0.2, tiny))


def gaussian_score(calibration: ArrayLike) -> GaussianScore:
    """Minus the log-density of one Gaussian with full covariance, fitted to the standardised statistics.

    ``z^T C^-1 z / 2`` up to a constant, with z the standardised statistics and C their covariance, whose correlations
    are multiplied by 0.999, so that linearly dependent statistics are allowed: the order of the Mahalanobis distances
    from the calibration data.

    Args:
      calibration: finite statistics ``(N, F)``, N >= 2, no column constant.

    Source: Mahmood et al. 2021 (https://arxiv.org/abs/2010.13132), with one Gaussian instead of a mixture.
    """
    standardised = standardise(calibration)
    values = standardised(calibration)
    covariance = jnp.atleast_2d(jnp.cov(values, rowvar=False))
    shrunk = 0.999 * covariance + 0.001 * jnp.diag(jnp.diag(covariance))
    density = gaussian(jnp.mean(values, axis=0), covariance=shrunk)
    return GaussianScore(standardised=standardised, density=density)


def mean_z_score(calibration: ArrayLike) -> MeanZScore:
    """The mean over the statistics of their z-scores, ``mean_f (statistic_f - mean_f) / std_f``.

    With the reconstruction errors at several noise levels this is the score of DDPM-OOD. It is one-sided: statistics
    below their calibration mean lower the score.

    Args:
      calibration: finite statistics ``(N, F)``, N >= 2, no column constant.

    Source: Graham et al. 2023 (https://arxiv.org/abs/2211.07740).
    """
    return MeanZScore(standardised=standardise(calibration))

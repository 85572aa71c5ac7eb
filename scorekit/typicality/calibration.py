"""From statistics to scores and p-values, with nothing but in-distribution data.

A *score* is larger the more foreign an example is. Scores come from the density of the statistics themselves (DoSE):
an example is foreign when its statistics are unusual, too high or too low.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.densities import Gaussian, gaussian
from scorekit.trees import check, pytree_dataclass
from scorekit.typing import Array, ArrayLike, Key


def _statistics(name: str, values: ArrayLike, least: int) -> Array:
    values = jnp.asarray(values, float)
    if values.ndim != 2 or values.shape[0] < least or values.shape[1] < 1:
        raise ValueError(f"{name} must have shape (N, F) with N >= {least} and F >= 1, got {values.shape}")
    return values


@pytree_dataclass
class DensityOfStates:
    """Kernel density estimates of F statistics, each on its own; build it with :func:`density_of_states`.

    Attributes:
      points: the statistics of in-distribution data, ``(N, F)``.
      bandwidth: the standard deviation of the kernel, ``(F,)``.
    """

    points: Array
    bandwidth: Array

    def log_density(self, statistics: ArrayLike) -> Array:
        """``sum_f log p_f(statistics[:, f])``; ``(B, F) -> (B,)``. Its tails are those of a Gaussian."""
        values = _statistics("statistics", statistics, 1)

        def one(row):
            z = (row - self.points) / self.bandwidth
            return jax.nn.logsumexp(-0.5 * jnp.square(z), axis=0)

        constant = jnp.log(self.bandwidth) + math.log(self.points.shape[0]) + 0.5 * math.log(2 * math.pi)
        return jnp.sum(jax.lax.map(one, values, batch_size=64) - constant, axis=1)


def density_of_states(statistics: ArrayLike) -> DensityOfStates:
    """Fits the density of each statistic to in-distribution data, by Gaussian kernels.

    The bandwidth is Silverman's, ``0.9 min(std, IQR / 1.34) N^(-1/5)``.

    Args:
      statistics: ``(N, F)``, N >= 2, of data that the model was not trained on.

    Returns:
      A :class:`DensityOfStates`; ``-log_density`` is the score of DoSE.

    Raises:
      ValueError: for another shape.

    >>> found = density_of_states(jax.random.normal(jax.random.key(0), (1000, 1)))
    >>> print([f"{value:.1f}" for value in found.log_density([[0.0], [3.0]])])
    ['-0.9', '-5.4']

    Source: Morningstar et al. 2021, sec. 3 (https://arxiv.org/abs/2006.09273); Silverman 1986, eq. 3.31.
    """
    points = _statistics("statistics", statistics, 2)
    spread = jnp.subtract(*jnp.quantile(points, jnp.array([0.75, 0.25]), axis=0)) / 1.34
    std = jnp.std(points, axis=0, ddof=1)
    width = jnp.where(spread > 0, jnp.minimum(std, spread), std)
    tiny = jnp.finfo(points.dtype).tiny
    return DensityOfStates(points=points, bandwidth=jnp.maximum(0.9 * width * points.shape[0] ** -0.2, tiny))


def gaussian_of_states(statistics: ArrayLike) -> Gaussian:
    """A Gaussian with full covariance fitted to several statistics of in-distribution data.

    The covariance is shrunk by a thousandth towards its diagonal, so that statistics that determine each other are
    allowed. ``-log_density`` of the result orders examples by their Mahalanobis distance.

    Args:
      statistics: ``(N, F)``, N >= 2; no column may be constant.

    Raises:
      ValueError: for another shape, or a covariance that is not positive definite.

    >>> gaussian_of_states(jax.random.normal(jax.random.key(0), (1000, 3))).dim
    3
    """
    values = _statistics("statistics", statistics, 2)
    covariance = jnp.atleast_2d(jnp.cov(values, rowvar=False))
    shrunk = 0.999 * covariance + 0.001 * jnp.diag(jnp.diag(covariance))
    return gaussian(jnp.mean(values, axis=0), covariance=shrunk)


def p_values(calibration: ArrayLike, scores: ArrayLike) -> Array:
    """Conformal p-values, ``(1 + #{i: calibration_i >= score}) / (N + 1)``.

    If the example and the calibration data are exchangeable, ``P(p <= a) <= a`` for every ``a``, whatever the score is
    and however bad the model.

    Args:
      calibration: scores of in-distribution data ``(N,)`` that neither the model nor the score was fitted to.
      scores: any shape.

    Returns:
      Values in ``[1 / (N + 1), 1]``, shaped like ``scores``.

    Raises:
      ValueError: if ``calibration`` is not ``(N,)`` with N >= 1.

    >>> print(p_values(jnp.arange(9.0), jnp.array([-1.0, 4.5, 100.0])))
    [1.  0.5 0.1]

    Source: Bates et al. 2023 (https://arxiv.org/abs/2104.08279).
    """
    calibration = jnp.asarray(calibration, float)
    if calibration.ndim != 1 or calibration.shape[0] < 1:
        raise ValueError(f"calibration must have shape (N,) with N >= 1, got {calibration.shape}")
    below = jnp.searchsorted(jnp.sort(calibration), jnp.asarray(scores, float), side="left")
    n = calibration.shape[0]
    return (1.0 + n - below) / (n + 1.0)


class TypicalityTest(NamedTuple):
    """What :func:`typicality_test` found for each batch.

    Attributes:
      statistic: ``|mean(-log p) - H|`` in nats.
      threshold: the quantile of the bootstrap at the level of the test.
      p_value: the share of bootstrap batches at least as far from H.
      rejected: whether the statistic is above the threshold: the batch is called out of distribution.
    """

    statistic: Array
    threshold: Array
    p_value: Array
    rejected: Array


def typicality_test(
    key: Key,
    entropy: ArrayLike,
    calibration: ArrayLike,
    log_density: ArrayLike,
    *,
    level: ArrayLike = 0.05,
    resamples: int = 10_000,
) -> TypicalityTest:
    """Nalisnick's test of batches: is the mean information of M examples as far from the entropy as chance allows?

    ``|mean_m(-log p(x_m)) - H|`` is compared with the same for batches of M drawn with replacement from in-distribution
    data. Its power grows with M, since the spread under the null falls as ``1 / sqrt(M)``.

    Args:
      key: PRNG key of the bootstrap.
      entropy: H in nats: the mean of ``-log p`` over training data (or the model's own, where it is known).
      calibration: ``log p`` in nats of in-distribution data that was not trained on, ``(N,)``.
      log_density: ``log p`` in nats of the batches in question, ``(..., M)``.
      level: the share of in-distribution batches that may be rejected, in (0, 1).
      resamples: bootstrap batches.

    Returns:
      A :class:`TypicalityTest` of arrays ``(...)``; the threshold is a scalar.

    Raises:
      ValueError: for shapes, ``resamples`` or a level that are not allowed.

    >>> inside = jax.random.normal(jax.random.key(0), (500,))
    >>> found = typicality_test(jax.random.key(1), 0.0, inside, jnp.stack([inside[:20], jnp.full(20, 2.0)]))
    >>> found.rejected
    Array([False,  True], dtype=bool)

    Source: Nalisnick et al. 2019, alg. 1 (https://arxiv.org/abs/1906.02994).
    """
    calibration, log_density = jnp.asarray(calibration, float), jnp.asarray(log_density, float)
    if calibration.ndim != 1 or calibration.shape[0] < 2:
        raise ValueError(f"calibration must have shape (N,) with N >= 2, got {calibration.shape}")
    if log_density.ndim < 1 or log_density.shape[-1] < 1:
        raise ValueError(f"log_density must have shape (..., M) with M >= 1, got {log_density.shape}")
    if resamples < 1:
        raise ValueError(f"resamples must be >= 1, got {resamples}")
    check(lambda a: (a > 0) & (a < 1), "in (0, 1)", level=level)
    m = log_density.shape[-1]
    far = lambda values: jnp.abs(-jnp.mean(values, axis=-1) - entropy)

    def resample(key):
        return far(calibration[jax.random.randint(key, (m,), 0, calibration.shape[0])])

    null = jax.lax.map(resample, jax.random.split(key, resamples), batch_size=256)
    statistic, threshold = far(log_density), jnp.quantile(null, 1.0 - jnp.asarray(level, float))
    return TypicalityTest(statistic, threshold, p_values(null, statistic), statistic > threshold)

"""P-values and hypothesis tests, calibrated on in-distribution data only.

Scores of calibration data are finite; traced, another value gives NaN.

Source: Nalisnick et al. 2019 (https://arxiv.org/abs/1906.02994).
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import Between, Finite, PositiveInt, checked
from scorekit.checks import check, check_finite, check_not_nan, nan_unless, nan_unless_finite
from scorekit.numerics.meshes import typed_as, unsplit
from scorekit.typing import Array, ArrayLike, Key


def p_values(calibration: ArrayLike, scores: ArrayLike) -> Array:
    """Conformal p-values, ``(1 + #{i: calibration_i >= score}) / (N + 1)``.

    If the example and the calibration data are exchangeable, ``P(p <= a) <= a`` for every ``a``, for any score and any
    model.

    Args:
      calibration: scores of in-distribution data ``(N,)`` that were used to fit neither the model nor the score.
      scores: scores of any shape, which may be infinite: only their order counts. A traced NaN gives NaN.

    Returns:
      p-values in (0, 1], shaped like ``scores``.

    >>> print(jax.jit(p_values)(jnp.arange(9.0), jnp.array([-1.0, 4.5, 100.0])))
    [1.  0.5 0.1]

    Source: Bates et al. 2023 (https://arxiv.org/abs/2104.08279).
    """
    calibration = jnp.asarray(calibration, float)
    if calibration.ndim != 1 or calibration.shape[0] < 1:
        raise ValueError(f"calibration must have shape (N,) with N >= 1, got {calibration.shape}")
    scores = jnp.asarray(scores, float)
    check_not_nan(calibration=calibration, scores=scores)
    calibration = unsplit(calibration)
    below = typed_as(jnp.searchsorted(jnp.sort(calibration), unsplit(scores), side="left"), scores)
    n = calibration.shape[0]
    values = jnp.where(jnp.isnan(scores), jnp.nan, (1.0 + n - below) / (n + 1.0))
    return nan_unless(~jnp.any(jnp.isnan(calibration)), values)


class TypicalityTest(NamedTuple):
    """The result of :func:`typicality_test` for each batch.

    Attributes:
      statistic: ``|mean(-log p) - H|`` in nats.
      threshold: the bootstrap batch above which ``p_value <= level``; infinite if a traced level is below
        ``1 / (num_resamples + 1)``.
      p_value: ``(1 + n) / (1 + num_resamples)`` with n the number of bootstrap batches at least as far from H.
      rejected: True where the statistic is above the threshold, so that the batch is classified as out of distribution,
        or NaN, which only traced arguments can give.

    >>> test = TypicalityTest(jnp.array([0.1, 2.0]), jnp.array(1.0), jnp.array([0.9, 0.01]), jnp.array([False, True]))
    >>> bool(jnp.all(test.rejected == (test.statistic > test.threshold)))
    True
    """

    statistic: Array
    threshold: Array
    p_value: Array
    rejected: Array


@checked
def typicality_test(
    key: Key,
    entropy: Finite[float],
    calibration: ArrayLike,
    log_density: ArrayLike,
    *,
    level: Annotated[float, Between(0, 1, "both")] = 0.05,
    num_resamples: PositiveInt = 10_000,
) -> TypicalityTest:
    """Nalisnick's typicality test of batches: is the mean information of M examples compatible with the entropy?

    ``|mean_m(-log p(x_m)) - H|`` is compared with its distribution for batches of M examples drawn with replacement
    from in-distribution data. The power grows with M: the standard deviation under the null hypothesis falls as
    ``1 / sqrt(M)``.

    Args:
      key: PRNG key of the bootstrap.
      entropy: entropy H in nats: the mean of ``-log p`` over training data (or the entropy of the model, if available).
      calibration: ``log p`` in nats of in-distribution data that the model was not trained on, ``(N,)``.
      log_density: ``log p`` in nats of the batches to test, ``(..., M)``; a batch with an infinite value is rejected.
      level: significance level, the fraction of in-distribution batches that may be rejected.
      num_resamples: number of bootstrap batches, at least ``1 / level - 1``.

    Returns:
      A :class:`TypicalityTest` of arrays ``(...)``; the threshold is a scalar.

    >>> calibration = jax.random.normal(jax.random.key(0), (500,))
    >>> batches = jnp.stack([calibration[:20], jnp.full(20, 2.0)])
    >>> test = jax.jit(typicality_test, static_argnames="num_resamples")
    >>> test(jax.random.key(1), 0.0, calibration, batches, num_resamples=512).rejected
    Array([False,  True], dtype=bool)
    """
    calibration, log_density = jnp.asarray(calibration, float), jnp.asarray(log_density, float)
    if calibration.ndim != 1 or calibration.shape[0] < 2:
        raise ValueError(f"calibration must have shape (N,) with N >= 2, got {calibration.shape}")
    if log_density.ndim < 1 or log_density.shape[-1] < 1:
        raise ValueError(f"log_density must have shape (..., M) with M >= 1, got {log_density.shape}")
    check_finite(calibration=calibration)
    check_not_nan(log_density=log_density)
    least = 1 / (num_resamples + 1)
    check(
        lambda x: x >= (1 - 1e-6) * least, f">= 1 / (num_resamples + 1) = {least:g}, else none is rejected", level=level
    )
    known: Array = nan_unless_finite(calibration, calibration)
    m = log_density.shape[-1]
    deviation = lambda values: jnp.abs(-jnp.mean(values, axis=-1) - entropy)

    def resample(key):
        return deviation(known[jax.random.randint(key, (m,), 0, known.shape[0])])

    null = jax.lax.map(resample, jax.random.split(key, num_resamples), batch_size=256)
    allowed = jnp.floor(jnp.asarray(level, float) * (num_resamples + 1) * (1 + 1e-6)).astype(int)  # of 1 + n
    quantile = jnp.sort(null)[num_resamples - jnp.maximum(allowed, 1)]
    threshold = nan_unless_finite(jnp.where(allowed < 1, jnp.inf, quantile), calibration)
    statistic = deviation(log_density)
    rejected = ~(statistic <= threshold) | jnp.isinf(statistic)
    return TypicalityTest(statistic, threshold, p_values(null, statistic), rejected)

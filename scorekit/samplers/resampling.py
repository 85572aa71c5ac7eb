"""Weighted particles: their effective sample size, and resampling to equal weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import checked
from scorekit.checks import check
from scorekit.numerics.meshes import cond, take_rows, unsplit
from scorekit.typing import Array, ArrayLike, Key, PyTree


def effective_sample_size(log_weights: ArrayLike) -> Array:
    """``(sum_i w_i)^2 / sum_i w_i^2``: the equivalent number of particles of equal weight, 1 to n.

    Args:
      log_weights: ``(n,)``, not necessarily normalised; ``-inf`` is a weight of 0.

    Returns:
      A scalar from 1 to n.

    Raises:
      ValueError: for NaN, ``+inf`` or weights that are all 0; traced ones give NaN.

    >>> float(effective_sample_size(jnp.log(jnp.array([1.0, 1.0, 0.0, 0.0]))))
    2.0

    Source: Kong 1992; Liu & Chen 1998 (https://doi.org/10.1080/01621459.1998.10473765).
    """
    log_weights = _checked(log_weights)
    return jnp.exp(2.0 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2.0 * log_weights))


@checked
def systematic_resample(key: Key, log_weights: ArrayLike) -> Array:
    """The indices of the resampled particles: ``n w_i`` copies on average, and never off by one or more.

    The n points ``(u + j) / n`` with a single uniform u are looked up in the cumulative weights, so that particle i is
    drawn ``floor(n w_i)`` or ``ceil(n w_i)`` times.

    Args:
      key: PRNG key.
      log_weights: ``(n,)``, not necessarily normalised; ``-inf`` is a particle that is never drawn.

    Returns:
      ``(n,)`` indices, increasing; for traced weights that are not allowed, indices out of range.

    >>> systematic_resample(jax.random.key(0), jnp.log(jnp.array([0.5, 0.0, 0.25, 0.25]))).tolist()
    [0, 0, 2, 3]

    Source: Carpenter, Clifford & Fearnhead 1999 (https://doi.org/10.1049/ip-rsn:19990255).
    """
    log_weights = unsplit(_checked(log_weights))
    n = log_weights.shape[0]
    cumulative = jnp.cumsum(jax.nn.softmax(log_weights))
    points = (jax.random.uniform(key) + jnp.arange(n)) / n
    points = jnp.minimum(points, 1.0 - jnp.finfo(points.dtype).epsneg)  # rounding must not exceed the last one
    indices = jnp.searchsorted(cumulative / cumulative[-1], points, side="right")
    return jnp.where(jnp.isfinite(cumulative[-1]), indices, n)


def log_mean_weight(log_weights: Array) -> Array:
    """``log (1 / n) sum_i w_i``: the factor by which resampling changes the estimate of the normaliser.

    Args:
      log_weights: ``(n,)``, not necessarily normalised.

    Returns:
      A scalar.

    >>> float(log_mean_weight(jnp.zeros(3)))
    0.0
    """
    return jax.nn.logsumexp(log_weights) - jnp.log(log_weights.shape[0])


@checked
def resample_if_due(
    key: Key, log_weights: Array, particles: PyTree, threshold: ArrayLike, take: Callable[..., Any] = take_rows
) -> tuple[PyTree, Array, Array, Array, Array]:
    """One step of sequential Monte Carlo: resamples the particles if few of their weights dominate.

    Args:
      key: PRNG key.
      log_weights: ``(n,)``, not necessarily normalised.
      particles: a tree that ``take`` indexes.
      threshold: particles are resampled where the effective sample size is below this fraction of n, at 1 always
        (unless it is NaN).
      take: ``(particles, indices (n,)) -> particles``; by default rows of all leaves.

    Returns:
      ``(particles, log_weights, gained, ess, resampled)``: the weights are 1 and ``gained`` is the logarithm of their
      mean where the particles were resampled; elsewhere all are as before and ``gained`` is 0.

    >>> log_weights = jnp.log(jnp.array([3.0, 1e-9]))
    >>> resample_if_due(jax.random.key(0), log_weights, jnp.array([5, 7]), 0.6)[0].tolist()
    [5, 5]
    """
    ess = effective_sample_size(log_weights)
    due = (ess < threshold * log_weights.shape[0]) | ((jnp.asarray(threshold) >= 1) & ~jnp.isnan(ess))

    def resample(key, log_weights, particles):
        drawn = take(particles, systematic_resample(key, log_weights))
        return drawn, jnp.zeros_like(log_weights), log_mean_weight(log_weights)

    def keep(key, log_weights, particles):
        return particles, log_weights, jnp.zeros_like(log_mean_weight(log_weights))

    particles, log_weights, gained = cond(due, resample, keep, key, log_weights, particles)
    return particles, log_weights, gained, ess, due


def _checked(log_weights: ArrayLike) -> Array:
    log_weights = jnp.asarray(log_weights, jnp.promote_types(jnp.result_type(float, log_weights), jnp.float32))
    if log_weights.ndim != 1 or log_weights.shape[0] < 1:
        raise ValueError(f"log_weights must have shape (n,) with n >= 1, got {log_weights.shape}")
    allowed = "below inf, not NaN, and not all -inf"
    check(lambda w: np.all(w < np.inf) & np.any(w > -np.inf), allowed, log_weights=log_weights)
    return log_weights

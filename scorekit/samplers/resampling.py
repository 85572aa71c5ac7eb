"""Weighted particles: their effective sample size, and resampling to equal weights."""

import jax
import jax.numpy as jnp

from scorekit.typing import Array, Key


def effective_sample_size(log_weights: Array) -> Array:
    """``(sum_i w_i)^2 / sum_i w_i^2``: the equivalent number of particles of equal weight, 1 to n.

    Args:
      log_weights: ``(n,)``, not necessarily normalised.

    >>> float(effective_sample_size(jnp.log(jnp.array([1.0, 1.0, 0.0, 0.0]))))
    2.0

    Source: Kong 1992; Liu & Chen 1998, sec. 2.1 (https://doi.org/10.1080/01621459.1998.10473765).
    """
    return jnp.exp(2.0 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2.0 * log_weights))


def systematic_resample(key: Key, log_weights: Array) -> Array:
    """The indices of the resampled particles: ``n w_i`` copies on average, and never off by one or more.

    The n points ``(u + j) / n`` with a single uniform u are looked up in the cumulative weights, so that particle i is
    drawn ``floor(n w_i)`` or ``ceil(n w_i)`` times.

    Args:
      key: PRNG key.
      log_weights: ``(n,)``, not necessarily normalised; ``-inf`` is a particle that is never drawn.

    Returns:
      ``(n,)`` indices, increasing.

    >>> systematic_resample(jax.random.key(0), jnp.log(jnp.array([0.5, 0.0, 0.25, 0.25]))).tolist()
    [0, 0, 2, 3]

    Source: Carpenter, Clifford & Fearnhead 1999, sec. 3 (https://doi.org/10.1049/ip-rsn:19990255).
    """
    n = log_weights.shape[0]
    cumulative = jnp.cumsum(jax.nn.softmax(log_weights))
    points = (jax.random.uniform(key) + jnp.arange(n)) / n
    points = jnp.minimum(points, 1.0 - jnp.finfo(points.dtype).epsneg)  # rounding must not exceed the last one
    return jnp.searchsorted(cumulative / cumulative[-1], points, side="right")

"""The logarithm of a power mean."""

import math

import jax
import jax.numpy as jnp

from scorekit.typing import Array


def log_power_mean(distance: Array, power: float) -> Array:
    """``log M_p = log(mean(distance^p)) / p`` of positive numbers; ``p = 0`` is its limit, the geometric mean.

    >>> [round(float(jnp.exp(log_power_mean(jnp.array([1.0, 2.0, 4.0]), p))), 3) for p in (2.0, 1.0, 0.0)]
    [2.646, 2.333, 2.0]
    """
    logs = jnp.log(distance)
    if power == 0:
        return jnp.mean(logs)
    return (jax.nn.logsumexp(power * logs) - math.log(logs.shape[0])) / power

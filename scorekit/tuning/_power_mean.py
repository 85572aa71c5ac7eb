"""The logarithm of a power mean."""

import math

import jax
import jax.numpy as jnp

from scorekit.typing import Array


def log_power_mean(distance: Array, power: float) -> Array:
    """``log M_p = log(mean(distance^p)) / p`` of positive numbers; ``p = 0`` is its limit, the geometric mean."""
    logs = jnp.log(distance)
    if power == 0:
        return jnp.mean(logs)
    return (jax.nn.logsumexp(power * logs) - math.log(logs.shape[0])) / power

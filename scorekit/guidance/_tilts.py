"""The tilt of discrete probabilities, which guidance of tokens, of conditionals and of counted sequences share."""

import jax.numpy as jnp

from scorekit.typing import Array


def log_ratio(log_c: Array, log_u: Array) -> Array:
    """``log_c - log_u``, and ``log_c`` where ``log_u`` is the logarithm of 0."""
    return log_c - jnp.where(jnp.isfinite(log_u), log_u, 0.0)


def tilt(log_p: Array, ratio: Array, scale: Array) -> Array:
    """``log_p + scale ratio``, not normalised; a probability of 0 stays 0, and a scale of 0 ignores the ratio."""
    possible = jnp.isfinite(log_p) & (scale != 0)
    return log_p + jnp.where(possible, scale * jnp.where(possible, ratio, 0.0), 0.0)

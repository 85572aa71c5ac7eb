"""The powers of a frequency band and how many coefficients have each."""

from collections.abc import Sequence
from typing import TypeAlias

import jax.numpy as jnp

from scorekit.checks import check_positive
from scorekit.typing import Array, ArrayLike

Values: TypeAlias = ArrayLike | Sequence[float]


def band_shares(power: Values, count: Values | None) -> tuple[Array, Array]:
    """The validated log-powers of a band and the fraction of its coefficients with each power; both ``(K,)``."""
    powers = jnp.atleast_1d(jnp.asarray(power, float))
    counts = jnp.ones(powers.shape) if count is None else jnp.atleast_1d(jnp.asarray(count, float))
    check_positive(power=powers, count=counts)
    if powers.ndim != 1 or counts.shape != powers.shape:
        raise ValueError(f"power and count must share a shape (K,), got {powers.shape} and {counts.shape}")
    if powers.size == 0:
        raise ValueError("power must hold at least one value, got none")
    return jnp.log(powers), counts / jnp.sum(counts)

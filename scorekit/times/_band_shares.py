"""The powers of a frequency band and how many coefficients have each."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import jax.numpy as jnp

from scorekit.arguments import Between
from scorekit.typing import Array, ArrayLike

Values: TypeAlias = Annotated[ArrayLike | Sequence[float], Between(0, open="low")]


def band_shares(power: Values, count: Values | None) -> tuple[Array, Array]:
    """The validated log-powers of a band and the fraction of its coefficients with each power; both ``(K,)``."""
    powers = jnp.atleast_1d(jnp.asarray(power, float))
    counts = jnp.ones(powers.shape) if count is None else jnp.atleast_1d(jnp.asarray(count, float))
    if powers.ndim != 1 or counts.shape != powers.shape:
        raise ValueError(f"power and count must share a shape (K,), got {powers.shape} and {counts.shape}")
    if powers.size == 0:
        raise ValueError("power must hold at least one value, got none")
    return jnp.log(powers), counts / jnp.sum(counts)

"""Units of information."""

import math
from typing import Literal, TypeAlias

import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike

Unit: TypeAlias = Literal["nats", "bits"]


def in_nats(amount: ArrayLike, unit: Unit) -> Array:
    """An amount of information in nats."""
    return jnp.asarray(amount, float) * (math.log(2.0) if unit == "bits" else 1.0)

"""Units of information."""

import math
from typing import Literal, TypeAlias

import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike

Unit: TypeAlias = Literal["nats", "bits"]


def in_nats(amount: ArrayLike, unit: Unit) -> Array:
    """An amount of information in nats.

    Raises:
      ValueError: for an unknown unit.

    >>> print(f"{in_nats(1.0, 'bits'):.4f}")
    0.6931
    """
    if unit not in ("nats", "bits"):
        raise ValueError(f"unit must be 'nats' or 'bits', got {unit!r}")
    return jnp.asarray(amount, float) * (math.log(2.0) if unit == "bits" else 1.0)

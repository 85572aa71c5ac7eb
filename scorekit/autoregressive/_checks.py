"""Checks that the modules of autoregressive models share."""

import jax.numpy as jnp

from scorekit.autoregressive.conditionals import Conditional
from scorekit.checks import check_finite, check_floating
from scorekit.typing import Array, ArrayLike


def check_sequences(conditional: Conditional, x: ArrayLike, name: str = "x") -> Array:
    """The sequences as an array; raises ``ValueError`` unless they are of the kind of the conditional.

    >>> from scorekit.autoregressive import Normal
    >>> check_sequences(Normal(channels=2), jnp.zeros((3, 5)))
    Traceback (most recent call last):
    ValueError: x must have shape (B, L, 2), with B and L at least 1, got (3, 5)
    """
    one = conditional.zeros(1)
    shape, event = jnp.shape(x), one.shape[1:]
    if len(shape) != 2 + len(event) or shape[2:] != event or 0 in shape:
        expected = ", ".join(["B", "L", *map(str, event)])
        raise ValueError(f"{name} must have shape ({expected}), with B and L at least 1, got {shape}")
    if jnp.issubdtype(one.dtype, jnp.floating):
        check_floating(**{name: x})
    elif not jnp.issubdtype(jnp.result_type(x), jnp.integer):
        raise ValueError(f"{name} must hold integers, got dtype {jnp.result_type(x)}")
    check_finite(**{name: x})
    return jnp.asarray(x)

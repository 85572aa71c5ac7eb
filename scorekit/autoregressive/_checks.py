"""Checks of sequences, and rows of the state of a model, for the modules of autoregressive models."""

import jax
import jax.numpy as jnp

from scorekit.autoregressive.conditionals import Conditional
from scorekit.autoregressive.models import SequenceModel
from scorekit.checks import check_finite, check_floating
from scorekit.numerics.codes import as_array
from scorekit.typing import Array, ArrayLike, PyTree


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
    return as_array(x, name)


def batch_axes(model: SequenceModel, batch: int, length: int) -> list[int | None]:
    """The axis of the sequences in each leaf of the state, None for what they share: the one that grows with them."""
    try:
        shapes = [jax.eval_shape(lambda n=n: model.init_state(n, length)) for n in (batch, batch + 1)]
    except ValueError as error:
        raise ValueError(f"model must have conditions that are the same for all sequences, got {error}") from error
    pairs = zip(*map(jax.tree.leaves, shapes), strict=True)
    return [next((i for i in range(a.ndim) if a.shape[i] != b.shape[i]), None) for a, b in pairs]


def take_rows(state: PyTree, axes: list[int | None], rows: Array) -> PyTree:
    """The state of the sequences ``rows``."""
    leaves, treedef = jax.tree.flatten(state)
    taken = [v if axis is None else jnp.take(v, rows, axis) for v, axis in zip(leaves, axes, strict=True)]
    return jax.tree.unflatten(treedef, taken)

"""Batches of small examples in blocks, one block after another, on a CPU.

There, small operations on a large batch leave the cache and are spread over threads at a loss; and where one error norm
covers many examples, all of them take the steps of the few that need most. Accelerators want the whole batch at once.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from scorekit.trees import batch_size, event_size
from scorekit.typing import Array, Denoiser, PyTree

EXAMPLES = 80
"""Most examples in a block that is chosen automatically."""
VALUES = 256
"""Examples with more values are never divided automatically: their network uses the threads of a CPU well."""

P = TypeVar("P")
Q = TypeVar("Q")


def block_length(denoiser: Denoiser, x: PyTree, time: Array, block_size: int | None) -> int | None:
    """The number of examples in each of the fewest equal blocks of at most ``block_size``; None for the whole batch.

    Automatically (``block_size=None``) the whole batch, or blocks of at most 80 examples if the backend is a single CPU
    device, an example has at most 256 values and ``denoiser`` accepts a batch of the length of a block. It does not if
    it holds a value for every example, as for class labels.

    Args:
      denoiser: ``(x_t, t) -> Prediction``; traced once if a batch is to be divided automatically.
      x: the state, leaves ``(B, ...)``.
      time: a scalar.
      block_size: number of examples, or None.

    Returns:
      A number of examples, less than B, or None.

    >>> block_length(lambda x, t: (x, x), jnp.ones((10, 2)), jnp.array(0.5), 9)
    5
    """
    if block_size is not None:
        return _equal(batch_size(x), block_size)
    leading = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(x)}
    if jax.default_backend() != "cpu" or jax.device_count() > 1 or len(leading) != 1 or leading == {()}:
        return None
    length = _equal(batch_size(x), EXAMPLES) if event_size(x) <= VALUES else None
    return length if length is not None and accepts(denoiser, x, time, length) else None


def in_blocks(function: Callable[[PyTree], tuple[P, Q]], x: PyTree, length: int | None) -> tuple[P, Q]:
    """``function`` of blocks of ``length`` examples; the last is filled up with the first examples.

    Args:
      function: ``block -> (per_example, shared)``, a tree of arrays ``(length, ...)`` and a tree of any arrays.
      x: a tree of arrays ``(B, ...)``.
      length: examples in a block, or None for one block.

    Returns:
      ``per_example`` with leaves ``(B, ...)``, and ``shared`` with a leading axis of blocks, without gradients.

    >>> in_blocks(lambda x: (2 * x, x.sum()), jnp.arange(5), 2)
    (Array([0, 2, 4, 6, 8], dtype=int32), Array([1, 5, 4], dtype=int32))
    """
    if length is None:
        per_example, shared = function(x)
        return per_example, jax.lax.stop_gradient(jax.tree.map(lambda leaf: leaf[None], shared))
    total = batch_size(x)
    count = -(-total // length)

    def divide(leaf):
        filled = jnp.concatenate([leaf, leaf[: count * length - total]])
        return filled.reshape(count, length, *leaf.shape[1:])

    per_example, shared = jax.lax.map(function, jax.tree.map(divide, x))
    join = lambda leaf: leaf.reshape(count * length, *leaf.shape[2:])[:total]
    return jax.tree.map(join, per_example), jax.lax.stop_gradient(shared)


def _equal(total: int, most: int) -> int | None:
    return -(-total // -(-total // most)) if most < total else None


def accepts(denoiser: Denoiser, x: PyTree, time: Array, length: int) -> bool:
    """Whether ``denoiser`` returns a block of this length for such a block; it is traced once.

    Args:
      denoiser: ``(x_t, t) -> Prediction``.
      x: the state, leaves ``(B, ...)``.
      time: a scalar.
      length: number of examples in the block.

    >>> accepts(lambda x, t: (x, x + jnp.ones((10, 2))), jnp.ones((10, 2)), jnp.array(0.5), 1)
    False
    """
    block = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((length, *leaf.shape[1:]), jnp.result_type(leaf)), x)
    shapes = lambda tree: jax.tree.map(jnp.shape, tree)
    try:
        return all(shapes(half) == shapes(block) for half in jax.eval_shape(denoiser, block, time))
    except Exception:  # whatever it is, the whole batch raises it again if it is an error
        return False

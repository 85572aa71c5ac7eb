"""The divergence of a vector field: the trace of its Jacobian, exactly or by Hutchinson's estimator."""

import functools
import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from scorekit.trees import batch_size, event_size, normal_like, sum_per_example
from scorekit.typing import Array, Key, PyTree

DivergenceName: TypeAlias = Literal["exact", "rademacher", "gaussian"]


def draw_probes(key: Key, name: DivergenceName, y: PyTree, count: int) -> PyTree:
    """Probe vectors ``v`` with ``E[v v^T] = I``, leaves ``(count, B, ...)``: Rademacher or Gaussian."""
    like = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), y)
    if name == "gaussian":
        return normal_like(key, like)
    leaves, treedef = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    signs = [jax.random.rademacher(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, signs)


def with_divergence(
    function: Callable[[PyTree], PyTree], y: PyTree, probes: PyTree | None, chunk: int
) -> tuple[PyTree, Array]:
    """``function(y)`` and its divergence, by Jacobian-vector products with ``chunk`` directions at a time.

    Args:
      function: maps ``y`` to a tree like it; examples must not depend on each other.
      y: leaves ``(B, ...)``.
      probes: leaves ``(n, B, ...)`` for n estimates ``v . J v``, or None for the exact trace.
      chunk: number of directions evaluated together: more need more memory, and beyond the cache size more time.

    Returns:
      ``(function(y), divergence)``; the divergence has shape ``(B, n)``, or ``(B, 1)`` if exact.

    >>> value, trace = with_divergence(lambda y: y**2, jnp.array([[1.0, 2.0]]), None, 1)
    >>> trace
    Array([[6.]], dtype=float32)

    Source: Grathwohl et al. 2019 (https://arxiv.org/abs/1810.01367).
    """
    total = event_size(y) if probes is None else jax.tree.leaves(probes)[0].shape[0]
    chunk = min(chunk, total)
    rounds = -(-total // chunk)

    def one(direction):
        value, pushed = jax.jvp(function, (y,), (direction,))
        return value, sum_per_example(lambda x: x, jax.tree.map(jnp.multiply, direction, pushed))

    def some(value, block):
        del value  # the same in every round; carried so that the network is traced only once
        directions = block if probes is not None else jax.vmap(functools.partial(_basis, y))(block)
        return jax.vmap(one, out_axes=(None, 0))(directions)

    def in_rounds(leaf):
        padded = jnp.concatenate([leaf, jnp.zeros((rounds * chunk - total, *leaf.shape[1:]), leaf.dtype)])
        return padded.reshape(rounds, chunk, *leaf.shape[1:])

    # The last round is padded: with zeros, or with directions past the last, which are zero.
    blocks = jnp.arange(rounds * chunk).reshape(rounds, chunk)
    if probes is not None:
        blocks = jax.tree.map(in_rounds, probes)
    empty = jax.tree.map(jnp.zeros_like, y)
    if rounds == 1:
        value, parts = some(empty, jax.tree.map(lambda leaf: leaf[0], blocks))
    else:
        value, parts = jax.lax.scan(some, empty, blocks)
    parts = parts.reshape(rounds * chunk, batch_size(y))[:total].T
    return value, jnp.sum(parts, axis=1, keepdims=True) if probes is None else parts


def _basis(y: PyTree, index: Array) -> PyTree:
    """The unit vector along one value of every example, indexed over all leaves."""
    leaves, treedef = jax.tree.flatten(y)
    units, start = [], 0
    for leaf in leaves:
        size = math.prod(leaf.shape[1:])
        unit = (jnp.arange(size) == index - start).astype(leaf.dtype).reshape(leaf.shape[1:])
        units.append(jnp.broadcast_to(unit, leaf.shape))
        start += size
    return jax.tree.unflatten(treedef, units)

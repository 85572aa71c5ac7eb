"""The divergence of a vector field: the trace of its Jacobian, exactly, by Hutchinson's estimator or by Hutch++."""

import functools
import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.numerics.meshes import scan, typed_as
from scorekit.trees import batch_size, event_size, normal_like, sum_per_example
from scorekit.typing import Array, Key, PyTree

DivergenceName: TypeAlias = Literal["exact", "rademacher", "gaussian", "hutch++"]


def draw_probes(key: Key, name: DivergenceName, y: PyTree, count: int) -> PyTree:
    """Probe vectors ``v`` with ``E[v v^T] = I``, leaves ``(count, B, ...)``; Gaussian unless Rademacher.

    Args:
      key: a key of ``jax.random``.
      name: "rademacher", "gaussian" or "hutch++".
      y: the state, leaves ``(B, ...)``.
      count: number of probes for each example.

    >>> draw_probes(jax.random.key(0), "gaussian", jnp.ones((2, 3)), 4).shape
    (4, 2, 3)
    """
    like = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), y)
    if name != "rademacher":
        return normal_like(key, like)
    leaves, treedef = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    signs = [jax.random.rademacher(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, signs)


def with_divergence(
    function: Callable[[PyTree], PyTree], y: PyTree, probes: PyTree | None, chunk: int, single: bool = False
) -> tuple[PyTree, Array]:
    """``function(y)`` and its divergence, by Jacobian-vector products with ``chunk`` directions at a time.

    Args:
      function: maps ``y`` to a tree like it; examples must not depend on each other.
      y: leaves ``(B, ...)``.
      probes: leaves ``(n, B, ...)`` for n estimates ``v . J v``, or None for the exact trace.
      chunk: number of directions evaluated together: more need more memory, and beyond the cache size more time.
      single: ``function`` takes batches of one example. The directions of the exact trace are then the same for all
        examples until the first nonlinear operation, which saves operations.

    Returns:
      ``(function(y), divergence)``; the divergence has shape ``(B, n)``, or ``(B, 1)`` if exact.

    >>> value, trace = with_divergence(lambda y: y**2, jnp.array([[1.0, 2.0]]), None, 1)
    >>> trace
    Array([[6.]], dtype=float32)

    Source: Grathwohl et al. 2019 (https://arxiv.org/abs/1810.01367).
    """
    if single and probes is None:
        one_of = functools.partial(jax.tree.map, lambda leaf: leaf[None])
        pairs = jax.vmap(lambda y: with_divergence(function, one_of(y), None, chunk))(y)
        return jax.tree.map(lambda leaf: leaf[:, 0], pairs)
    total = event_size(y) if probes is None else jax.tree.leaves(probes)[0].shape[0]
    chunk = min(chunk, total)
    rounds = -(-total // chunk)

    def one(direction):
        direction = typed_as(direction, y)
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
        value, parts = scan(some, empty, blocks)
    parts = parts.reshape(rounds * chunk, batch_size(y))[:total].T
    return value, jnp.sum(parts, axis=1, keepdims=True) if probes is None else parts


def with_hutch_plus_plus(
    function: Callable[[PyTree], PyTree], y: PyTree, probes: PyTree, chunk: int
) -> tuple[PyTree, Array]:
    """``function(y)`` and estimates of its divergence whose variance comes from a remainder of the Jacobian J alone.

    ``tr J = tr(Q^T J Q) + (D - n) E[u . J u]``. The n columns of Q span ``J S - c S`` for the first n probes S, where c
    is their mean ``s . J s / s . s``; the unit vectors u are the other n probes, projected off Q. A multiple of the
    identity has no variance. The estimate is unbiased for any Q, and Q is a constant to derivatives.

    Args:
      function: maps ``y`` to a tree like it; examples must not depend on each other.
      y: leaves ``(B, ...)``, D values per example.
      probes: Gaussian probes, leaves ``(2 n, B, ...)`` with n at most D.
      chunk: number of directions evaluated together.

    Returns:
      ``(function(y), divergence)`` with n estimates, ``(B, n)``, from 3 n tangents.

    >>> y = jnp.ones((1, 3))
    >>> value, trace = with_hutch_plus_plus(lambda y: 2 * y, y, draw_probes(jax.random.key(0), "hutch++", y, 2), 8)
    >>> abs(float(trace[0, 0]) - 6.0) < 1e-5
    True

    Source: Meyer et al. 2021 (https://arxiv.org/abs/2010.09649).
    """
    value, push = jax.linearize(function, y)
    leaves, treedef = jax.tree.flatten(y)
    ends = np.cumsum([math.prod(leaf.shape[1:]) for leaf in leaves])

    def matrix(tree):
        return jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(tree)], -1)

    def products(v):  # of J and (m, B, D) directions
        parts = [part.reshape(-1, *leaf.shape) for part, leaf in zip(jnp.split(v, ends[:-1], -1), leaves, strict=True)]
        typed_push = lambda direction: push(typed_as(direction, y))
        return matrix(jax.lax.map(typed_push, jax.tree.unflatten(treedef, parts), batch_size=min(chunk, len(v))))

    first, last = jnp.split(matrix(probes), 2)
    pushed = products(first)
    shift = jnp.sum(first * pushed, (0, 2)) / jnp.sum(jnp.square(first), (0, 2))
    sketch = jax.lax.stop_gradient(jnp.transpose(pushed - shift[:, None] * first, (1, 2, 0)))
    span = jnp.moveaxis(jnp.linalg.qr(sketch)[0], 2, 0)
    across = last - jnp.einsum("mbd,mbe,nbe->nbd", span, span, last)
    length = jnp.linalg.norm(across, axis=-1, keepdims=True)
    v = jnp.concatenate([span, across / jnp.maximum(length, jnp.finfo(length.dtype).tiny)])
    spanned, rest = jnp.split(jnp.sum(v * products(v), axis=-1), 2)
    return value, (jnp.sum(spanned, axis=0) + (ends[-1] - len(span)) * rest).T


def unit_vectors(y: PyTree) -> PyTree:
    """The directions of the exact trace, along each of the D values of every example: leaves ``(D, B, ...)``.

    Args:
      y: leaves ``(B, ...)``, D values per example.

    >>> unit_vectors(jnp.ones((1, 2))).tolist()
    [[[1.0, 0.0]], [[0.0, 1.0]]]
    """
    return jax.vmap(functools.partial(_basis, y))(jnp.arange(event_size(y)))


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

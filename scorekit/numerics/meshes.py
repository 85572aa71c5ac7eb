"""Values on the devices of a mesh: loops and branches of ``jax.lax``, and operations across a batch that is split.

In ``jax.shard_map`` the type of a value says over which axes of the mesh it varies, and on an explicit mesh how it is
split. ``jax.lax`` raises where a step or a branch returns another type. Here, values that are the same on all devices,
or are not split, are cast to the other type first. Without such a mesh nothing is cast. A :class:`Shard` is a parameter
that is split over devices and gathered where it is used.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from scorekit.typing import Array, PyTree

T = TypeVar("T")


def scan(step: Callable, start: PyTree, xs: PyTree = None, length: int | None = None, unroll: bool = False) -> Any:
    """``jax.lax.scan``.

    Args:
      step: ``(carry, x) -> (carry, y)``.
      start: first carry, a tree of arrays.
      xs: leaves ``(n, ...)``, a row for each step; None with ``length``.
      length: number of steps, where xs is None.
      unroll: write the steps one after another, without a loop.

    >>> scan(lambda total, x: (total + x, total), 0, jnp.arange(3))[1].tolist()
    [0, 0, 1]
    """
    one = lambda carry: step(carry, jax.tree.map(lambda x: x[0], xs))[0]
    return jax.lax.scan(step, stable(one, start), xs, length, unroll=unroll)


def while_loop(condition: Callable, step: Callable, start: PyTree) -> Any:
    """``jax.lax.while_loop``.

    Args:
      condition: ``carry -> bool``: whether there is another step.
      step: ``carry -> carry``.
      start: first carry, a tree of arrays.

    >>> float(while_loop(lambda x: x < 5, lambda x: 2 * x, 1.0))
    8.0
    """
    return jax.lax.while_loop(condition, step, stable(step, start))


def cond(predicate: Any, on_true: Callable, on_false: Callable, *operands: Any) -> Any:
    """``jax.lax.cond``.

    Args:
      predicate: a scalar boolean.
      on_true: the function where it is true.
      on_false: the function where it is false.
      operands: arguments of both, trees of arrays.

    >>> int(cond(True, abs, jnp.sign, -2))
    2
    """
    if not _is_typed():
        return jax.lax.cond(predicate, on_true, on_false, *operands)
    types = [jax.make_jaxpr(branch)(*operands).out_avals for branch in (on_false, on_true)]
    branches = [
        lambda *operands, branch=branch, other=other: _cast(branch(*operands), other)
        for branch, other in zip((on_true, on_false), types, strict=True)
    ]
    return jax.lax.cond(predicate, *branches, *operands)


def stable(step: Callable, start: PyTree) -> PyTree:
    """``start`` with the types that ``step`` gives it; each round of steps reaches at least one more leaf.

    Args:
      step: ``carry -> carry``.
      start: first carry, a tree of arrays.

    >>> float(stable(lambda x: 2 * x, 1.0))
    1.0
    """
    types = []
    while _is_typed() and types != (types := jax.make_jaxpr(step)(start).out_avals):
        start = _cast(start, types)
    return start


def unsplit(tree: T) -> T:
    """The tree with full arrays on every device of an explicit mesh.

    Args:
      tree: a tree of arrays.

    >>> unsplit(jnp.arange(3)).tolist()
    [0, 1, 2]
    """
    if not jax.sharding.get_abstract_mesh().explicit_axes:
        return tree
    return jax.tree.map(lambda leaf: jax.sharding.reshard(leaf, PartitionSpec()), tree)


def typed_as(tree: T, like: PyTree) -> T:
    """The tree with arrays that are split over a mesh, or vary over its axes, where those of another tree do.

    Args:
      tree: a tree of arrays.
      like: a tree of as many leaves, with the wanted types.

    >>> typed_as(jnp.zeros(2), jnp.ones(2)).tolist()
    [0.0, 0.0]
    """
    return _cast(tree, map(jax.typeof, jax.tree.leaves(like))) if _is_typed() else tree


def take_rows(tree: T, index: Array) -> T:
    """The rows of arrays ``(B, ...)`` at an index ``(B,)``, split as the arrays are.

    Args:
      tree: leaves ``(B, ...)``.
      index: integers in [0, B), any shape.

    >>> take_rows(jnp.arange(3), jnp.array([2, 0])).tolist()
    [2, 0]
    """
    return typed_as(jax.tree.map(lambda leaf: leaf[index], unsplit(tree)), tree)


def repeat_rows(x: Array, count: int) -> Array:
    """``jnp.repeat`` along the first axis, which may be split.

    Args:
      x: ``(B, ...)``.
      count: number of copies of each row.

    >>> repeat_rows(jnp.arange(2), 2).tolist()
    [0, 0, 1, 1]
    """
    return jnp.broadcast_to(x[:, None], (len(x), count, *x.shape[1:])).reshape(-1, *x.shape[1:])


def _is_typed() -> bool:
    mesh = jax.sharding.get_abstract_mesh()
    return bool(mesh.manual_axes or mesh.explicit_axes)


def _cast(tree: T, types: Iterable) -> T:
    leaves, treedef = jax.tree.flatten(tree)
    return jax.tree.unflatten(treedef, [_as(leaf, other) for leaf, other in zip(leaves, types, strict=True)])


def _as(leaf: Array, other: Any) -> Array:
    spec = PartitionSpec(*other.sharding.spec[: jnp.ndim(leaf)])
    leaf = _vary(leaf, other.mat.varying)
    return jax.sharding.reshard(leaf, spec) if any(spec) else leaf


def _vary(leaf: Array, axes: frozenset) -> Array:
    return jax.lax.pcast(leaf, tuple(axes - jax.typeof(leaf).mat.varying), to="varying")


# ---- split parameters ------------------------------------------------------------------------------------------------


@functools.partial(jax.tree_util.register_dataclass, data_fields=["value"], meta_fields=["axis", "axis_name", "ring"])
@dataclasses.dataclass(frozen=True)
class Shard:
    """The part of an array that this device has.

    A training step gathers the parameters before it calls the loss. A network that gathers the parameters of a block
    inside the block, which is rematerialised, holds one gathered block at a time.

    Attributes:
      value: the part.
      axis: the axis that is split, negative: counted from the last, so that a loop may run over leading axes.
      axis_name: the axis of the mesh over which it is split.
      ring: number of neighbouring devices that gather first, before the rings do; 0 is all at once.

    >>> import jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> split, whole = jax.sharding.PartitionSpec("fsdp"), jax.sharding.PartitionSpec()
    >>> full = lambda part: Shard(part, -1, "fsdp").gather()
    >>> jax.shard_map(full, mesh=mesh, in_specs=split, out_specs=whole, check_vma=False)(jnp.ones(2))
    Array([1., 1.], dtype=float32)
    """

    value: Array
    axis: int
    axis_name: str
    ring: int = 0

    def gather(self) -> Array:
        """The full array; its gradient is summed over the devices and split again."""
        value, axis = self.value, self.value.ndim + self.axis
        for groups in rings(self.axis_name, self.ring):
            value = jax.lax.all_gather(value, self.axis_name, axis=axis, tiled=True, axis_index_groups=groups)
        return value


def rings(axis_name: str, ring: int) -> list[list[list[int]] | None]:
    """Groups of devices whose gatherings one after the other gather over the whole axis; None is a group of all.

    Args:
      axis_name: an axis of the mesh, over which the function is mapped.
      ring: number of neighbouring devices in the first groups; 0 is all at once.

    >>> rings("fsdp", 0)
    [None]
    """
    if not ring:
        return [None]
    starts = range(0, jax.lax.axis_size(axis_name), ring)
    return [[[i + j for j in range(ring)] for i in starts], [[i + j for i in starts] for j in range(ring)]]


def gathered(tree: PyTree) -> PyTree:
    """The tree with every :class:`Shard` as its full array; other leaves are left alone.

    Args:
      tree: a pytree with shards anywhere in it.

    >>> import jax.numpy as jnp
    >>> gathered({"bias": jnp.ones(2)})
    {'bias': Array([1., 1.], dtype=float32)}
    """
    is_shard = lambda x: isinstance(x, Shard)
    return jax.tree.map(lambda x: x.gather() if is_shard(x) else x, tree, is_leaf=is_shard)

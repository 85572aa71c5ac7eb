"""Parameters that are split over devices and gathered where they are used, for programs inside ``jax.shard_map``.

Returns:
  The full array or arrays.
"""

import dataclasses
import functools

import jax

from scorekit.typing import Array, PyTree

__all__ = ["Shard", "gathered"]


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
    """Groups of devices whose gatherings one after the other gather over the whole axis; None is a group of all."""
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

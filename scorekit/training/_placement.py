"""The axes of a mesh, how an array of a train state is split over them, and how split parameters are used in a step.

Inside a step, parameters that are split over the axis ``fsdp`` are gathered, and their gradients averaged.
"""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scorekit.numerics.meshes import Shard, rings
from scorekit.typing import Array, PyTree

AXES = ("data", "fsdp")
"""The axes of a mesh; rows of a batch are split over both."""


def check_mesh(mesh: Mesh) -> None:
    """Raises ``ValueError`` unless the axes of the mesh are ``('data', 'fsdp')``."""
    if mesh.axis_names != AXES:
        raise ValueError(f"mesh must have axes {AXES}, got {mesh.axis_names}")


def state_spec(x: Any, mesh: Mesh) -> PartitionSpec:
    """How an array of a train state is split: its longest axis that ``fsdp`` divides, or not at all.

    An axis whose parts fill whole tiles of a TPU, 128 values of the last axis or 8 of the one before, comes first.
    """
    size = mesh.shape["fsdp"]
    axes = [i for i, n in enumerate(x.shape) if n and n % size == 0]
    if size == 1 or not axes:
        return PartitionSpec()
    fills = lambda i: x.shape[i] // size % {1: 128, 2: 8}.get(x.ndim - i, 1) == 0
    longest = max(axes, key=lambda i: (fills(i), x.shape[i]))
    return PartitionSpec(*[None] * longest, "fsdp")


def place(x: Any, sharding: NamedSharding) -> Array:
    """One array, the same in every process, with a sharding."""
    if getattr(x, "sharding", None) == sharding:
        return x
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        words = place(jax.random.key_data(x), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(x))
    if isinstance(x, jax.Array) and not x.is_fully_addressable:  # moves between devices of several processes
        return jax.jit(lambda y: y, out_shardings=sharding)(x)
    return jax.device_put(np.asarray(x), sharding)


def check_rows(batch: PyTree, mesh: Mesh, accumulate: int = 1) -> None:
    """Raises ``ValueError`` unless all devices and micro-batches get the same number of rows of a batch."""
    rows = NamedSharding(mesh, PartitionSpec(AXES))
    for x in jax.tree.leaves(batch):
        if not jnp.shape(x) or not (hasattr(x, "sharding") or isinstance(x, np.ndarray)):
            raise ValueError(f"the batch must hold arrays with a row for each example, got {x!r:.60}")
        given = getattr(x, "sharding", None) != rows and not rows.is_fully_addressable
        size = x.shape[0] * (jax.process_count() if given else 1)
        if size < 1 or size % (mesh.size * accumulate):
            raise ValueError(
                f"the global batch must be divisible by devices x accumulate = {mesh.size} x {accumulate} "
                f"= {mesh.size * accumulate}, got {size}"
            )


def split_axes(params: PyTree, mesh: Mesh) -> PyTree:
    """For each full array, the axis that ``fsdp`` splits, counted from the last; 0 for an array that is not split."""

    def axis(x):
        spec = state_spec(x, mesh)
        return len(spec) - 1 - x.ndim if len(spec) else 0

    return jax.tree.map(axis, params)


def ring_of(mesh: Mesh) -> int:
    """The devices of a ring, of parameters that all chips of a TPU slice hold together; else 0, for all at once.

    XLA scatters a sum over a part of a slice. Over all of 16 chips or more it sums the full arrays on each of them,
    which moves twice the bytes, and then slices; over rings and across rings it scatters.
    """
    size, everything = mesh.shape["fsdp"], mesh.shape["data"] == 1
    if mesh.devices.flat[0].platform != "tpu" or not everything or size < 16:
        return 0
    return max(ring for ring in range(1, size) if size % ring == 0 and ring**2 <= size)


def shards(params: PyTree, axes: PyTree, mesh: Mesh) -> PyTree:
    """The arrays of this device that are split, as :class:`~scorekit.training.Shard`."""
    ring = ring_of(mesh)
    return jax.tree.map(lambda x, axis: Shard(x, axis, "fsdp", ring) if axis else x, params, axes)


def gather(params: PyTree, later: Collection[str]) -> PyTree:
    """Gathers all shards but those with a name of ``later`` on their path; a loop runs over the first axis of these."""
    is_shard = lambda x: isinstance(x, Shard)

    def leaf(path, x):
        if not is_shard(x):
            return x
        names = {jax.tree_util.keystr((key,), simple=True) for key in path}
        return x if names.intersection(later) and x.axis > -x.value.ndim else x.gather()

    return jax.tree_util.tree_map_with_path(leaf, params, is_leaf=is_shard)


def average(grads: PyTree, axes: PyTree, mesh: Mesh) -> PyTree:
    """The mean over all devices of the gradients of each; of those that are split, the part of this device."""

    ring = ring_of(mesh)

    def leaf(grad, axis):
        if isinstance(grad, Shard):
            grad = grad.value  # summed over fsdp where it was gathered
        elif axis:
            for groups in reversed(rings("fsdp", ring)):
                grad = jax.lax.psum_scatter(
                    grad, "fsdp", scatter_dimension=grad.ndim + axis, tiled=True, axis_index_groups=groups
                )
        else:
            return grad if mesh.size == 1 else jax.lax.pmean(grad, AXES)
        return (grad if mesh.shape["data"] == 1 else jax.lax.psum(grad, "data")) / mesh.size

    return jax.tree.map(leaf, grads, axes, is_leaf=lambda x: isinstance(x, Shard))

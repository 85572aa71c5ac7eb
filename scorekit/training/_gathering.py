"""Inside a training step: parameters split over the mesh axis ``fsdp`` are gathered, their gradients averaged."""

from collections.abc import Collection

import jax
from jax.sharding import Mesh

from scorekit._sharded import Shard
from scorekit.training._placement import AXES, state_spec
from scorekit.typing import PyTree


def split_axes(params: PyTree, mesh: Mesh) -> PyTree:
    """For each full array, the axis that ``fsdp`` splits, counted from the last; 0 for an array that is not split."""

    def axis(x):
        spec = state_spec(x, mesh)
        return len(spec) - 1 - x.ndim if len(spec) else 0

    return jax.tree.map(axis, params)


def shards(params: PyTree, axes: PyTree) -> PyTree:
    """The arrays of this device that are split, as :class:`~scorekit.training.Shard`."""
    return jax.tree.map(lambda x, axis: Shard(x, axis, "fsdp") if axis else x, params, axes)


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

    def leaf(grad, axis):
        if isinstance(grad, Shard):
            grad = grad.value  # summed over fsdp where it was gathered
        elif axis:
            grad = jax.lax.psum_scatter(grad, "fsdp", scatter_dimension=grad.ndim + axis, tiled=True)
        else:
            return grad if mesh.size == 1 else jax.lax.pmean(grad, AXES)
        return (grad if mesh.shape["data"] == 1 else jax.lax.psum(grad, "data")) / mesh.size

    return jax.tree.map(leaf, grads, axes, is_leaf=lambda x: isinstance(x, Shard))

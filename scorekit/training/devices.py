"""Device meshes with the axes ``data`` and ``model``, and the sharding of train states."""

from collections.abc import Sequence
from typing import TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scorekit.checks import check_count
from scorekit.typing import PyTree

T = TypeVar("T")


def make_mesh(model: int = 1, devices: Sequence | None = None) -> Mesh:
    """A mesh with axes ``('data', 'model')``.

    Args:
      model: size of the ``model`` axis; the other factor of the number of devices is that of ``data``.
      devices: the devices; all of them by default.

    Returns:
      The mesh.

    Raises:
      ValueError: if ``model`` does not divide the number of devices.

    >>> dict(make_mesh(devices=jax.devices()[:1]).shape)
    {'data': 1, 'model': 1}
    """
    devices = jax.devices() if devices is None else devices
    check_count(model=model)
    if len(devices) % model:
        raise ValueError(f"model must divide the number of devices, {len(devices)}, got {model}")
    shape = (len(devices) // model, model)
    return jax.make_mesh(shape, ("data", "model"), (AxisType.Auto,) * 2, devices=devices)


def state_sharding(state: PyTree, mesh: Mesh, shard_params: bool = False) -> PyTree:
    """The sharding of a train state (or any tree of arrays) on a mesh.

    Args:
      state: tree of arrays or of their shapes.
      mesh: a mesh with a ``model`` axis.
      shard_params: False replicates all arrays; True shards the longest axis of each array that the size of ``model``
        divides. Parameters, averages and optimiser moments of one shape have the same sharding.

    Returns:
      A tree of ``NamedSharding``.
    """
    size = mesh.shape["model"]

    def leaf(x):
        axes = [i for i, n in enumerate(x.shape) if n and n % size == 0]
        if not (shard_params and size > 1 and axes):
            return NamedSharding(mesh, PartitionSpec())
        longest = max(axes, key=lambda i: x.shape[i])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "model"))

    return jax.tree.map(leaf, state)


def place_state(state: T, mesh: Mesh, shard_params: bool = False) -> T:
    """Places a state on a mesh with the sharding of :func:`state_sharding`, for ``'jit'`` and ``'pmap'`` steps.

    A leaf with that sharding may share its buffer with the result.
    """
    return jax.device_put(state, state_sharding(state, mesh, shard_params))


def check_global_batch(size: int, devices: int, accumulate: int) -> None:
    """Raises ``ValueError`` unless ``devices * accumulate`` divides the size of the global batch."""
    if size < 1 or size % (devices * accumulate):
        raise ValueError(
            f"the global batch must be divisible by data-parallel devices x accumulate = {devices} x {accumulate} "
            f"= {devices * accumulate}, got {size}"
        )

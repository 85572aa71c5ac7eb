"""Device meshes with the axes ``data`` and ``fsdp``, and where train states and batches lie on them.

The batch is split over both axes. Parameters, averages and optimiser state are split over ``fsdp`` and replicated over
``data``: ``fsdp`` devices hold one copy. 1 is plain data parallelism, all devices are ZeRO-3 (Rajbhandari et al. 2020),
anything between is hybrid.
"""

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scorekit.arguments import PositiveInt, checked
from scorekit.training._placement import AXES, check_rows, place, state_spec
from scorekit.typing import PyTree

_T = TypeVar("_T")


@checked
def make_mesh(fsdp: PositiveInt = 1, devices: Sequence | None = None) -> Mesh:
    """A mesh with axes ``('data', 'fsdp')``.

    The devices of a process are neighbours, so that process p of P computes rows ``[pB/P, (p+1)B/P)`` of a batch of B.

    Args:
      fsdp: the number of devices that hold one copy of the train state; divides the number of devices.
      devices: the devices; by default all of all processes.

    >>> dict(make_mesh(devices=jax.devices()[:1]).shape)
    {'data': 1, 'fsdp': 1}
    """
    devices = jax.devices() if devices is None else list(devices)
    if len(devices) % fsdp:
        raise ValueError(f"fsdp must divide the number of devices, {len(devices)}, got {fsdp}")
    devices = sorted(devices, key=lambda device: device.process_index)
    return Mesh(np.reshape(np.asarray(devices), (-1, fsdp)), AXES, axis_types=(AxisType.Auto,) * 2)


def state_sharding(state: PyTree, mesh: Mesh) -> PyTree:
    """The sharding of a train state: each array is split along its longest axis that ``fsdp`` divides, preferably one
    whose parts fill the tiles of a TPU.

    An array without such an axis is replicated. Parameters, averages and optimiser moments of one shape have the same
    sharding.

    Args:
      state: train state or any tree of arrays, or of their shapes.
      mesh: devices, see :func:`make_mesh`.

    >>> mesh = make_mesh(devices=jax.devices()[:1])
    >>> state_sharding({"w": np.ones((3, 8))}, mesh)["w"].spec == PartitionSpec()
    True
    """
    return jax.tree.map(lambda x: NamedSharding(mesh, state_spec(x, mesh)), state)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch, arrays ``(B, ...)``: its rows over all devices.

    Args:
      mesh: devices, see :func:`make_mesh`.

    >>> batch_sharding(make_mesh(devices=jax.devices()[:1])).spec == PartitionSpec(AXES)
    True
    """
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device has.

    Args:
      mesh: devices, see :func:`make_mesh`.

    >>> replicated(make_mesh(devices=jax.devices()[:1])).is_fully_replicated
    True
    """
    return NamedSharding(mesh, PartitionSpec())


def place_state(state: _T, mesh: Mesh) -> _T:
    """Places a state on a mesh with the sharding of :func:`state_sharding`, for ``'jit'`` and ``'pmap'`` steps.

    With several processes each passes the same values. A leaf with that sharding may share its buffer with the result.

    Args:
      state: train state or any tree of arrays.
      mesh: devices, see :func:`make_mesh`.

    Returns:
      The state on the devices of the mesh.

    >>> mesh = make_mesh(devices=jax.devices()[:1])
    >>> place_state({"w": np.ones((3, 8), np.float32)}, mesh)["w"].sharding.mesh == mesh
    True
    """
    return jax.tree.map(place, state, state_sharding(state, mesh))


def replicate(tree: _T, mesh: Mesh) -> _T:
    """Places full copies of all arrays on every device, from any sharding.

    Args:
      tree: tree of arrays.
      mesh: devices, see :func:`make_mesh`.

    Returns:
      The arrays on the devices of the mesh.

    >>> mesh = make_mesh(devices=jax.devices()[:1])
    >>> replicate({"w": np.ones((3, 8), np.float32)}, mesh)["w"].sharding.is_fully_replicated
    True
    """
    everywhere = replicated(mesh)
    return jax.tree.map(lambda x: place(x, everywhere), tree)


def place_batch(batch: _T, mesh: Mesh) -> _T:
    """Places a batch on a mesh, its rows split over all devices: the global batch, arrays ``(B, ...)``.

    Args:
      batch: tree of NumPy arrays, the rows of this process: all of them with one process, rows
        ``[pB/P, (p+1)B/P)`` of the global batch of B in process p of P. Arrays on these devices are left alone.
      mesh: devices, see :func:`make_mesh`.

    >>> mesh = make_mesh(devices=jax.devices()[:1])
    >>> place_batch({"x": np.ones((8, 2))}, mesh)["x"].shape
    (8, 2)
    """
    rows = batch_sharding(mesh)

    def leaf(x):
        if getattr(x, "sharding", None) == rows:
            return x
        if rows.is_fully_addressable:
            return jax.device_put(x, rows)
        return jax.make_array_from_process_local_data(rows, np.asarray(x))

    check_rows(batch, mesh)
    return jax.tree.map(leaf, batch)

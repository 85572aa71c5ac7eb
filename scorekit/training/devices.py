"""Device meshes with the axes ``data`` and ``fsdp``, and where train states and batches lie on them.

The batch is split over both axes. Parameters, averages and optimiser state are split over ``fsdp`` and replicated over
``data``: ``fsdp`` devices hold one copy. 1 is plain data parallelism, all devices are ZeRO-3 (Rajbhandari et al. 2020),
anything between is hybrid.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scorekit.checks import check_count
from scorekit.typing import Array, PyTree

T = TypeVar("T")

AXES = ("data", "fsdp")
"""The axes of a mesh; rows of a batch are split over both."""


def make_mesh(fsdp: int = 1, devices: Sequence | None = None) -> Mesh:
    """A mesh with axes ``('data', 'fsdp')``.

    The devices of a process are neighbours, so that process p of P computes rows ``[pB/P, (p+1)B/P)`` of a batch of B.

    Args:
      fsdp: the number of devices that hold one copy of the train state.
      devices: the devices; those of all processes by default.

    Returns:
      The mesh.

    Raises:
      ValueError: if ``fsdp`` does not divide the number of devices.

    >>> dict(make_mesh(devices=jax.devices()[:1]).shape)
    {'data': 1, 'fsdp': 1}
    """
    devices = jax.devices() if devices is None else list(devices)
    check_count(fsdp=fsdp)
    if len(devices) % fsdp:
        raise ValueError(f"fsdp must divide the number of devices, {len(devices)}, got {fsdp}")
    devices = sorted(devices, key=lambda device: device.process_index)
    return Mesh(np.reshape(np.asarray(devices), (-1, fsdp)), AXES, axis_types=(AxisType.Auto,) * 2)


def check_mesh(mesh: Mesh) -> None:
    """Raises ``ValueError`` unless the axes of the mesh are ``('data', 'fsdp')``."""
    if mesh.axis_names != AXES:
        raise ValueError(f"mesh must have axes {AXES}, got {mesh.axis_names}")


def state_spec(x: Any, mesh: Mesh) -> PartitionSpec:
    """How an array of a train state is split: its longest axis that ``fsdp`` divides, or not at all.

    >>> tuple(state_spec(jnp.ones((3, 8)), jax.sharding.AbstractMesh((2, 4), AXES)))
    (None, 'fsdp')
    """
    size = mesh.shape["fsdp"]
    axes = [i for i, n in enumerate(x.shape) if n and n % size == 0]
    if size == 1 or not axes:
        return PartitionSpec()
    longest = max(axes, key=lambda i: x.shape[i])
    return PartitionSpec(*[None] * longest, "fsdp")


def state_sharding(state: PyTree, mesh: Mesh) -> PyTree:
    """The sharding of a train state (or any tree of arrays) on a mesh.

    The longest axis of each array that ``fsdp`` divides is split; an array without such an axis is replicated.
    Parameters, averages and optimiser moments of one shape have the same sharding.

    Args:
      state: tree of arrays or of their shapes.
      mesh: from :func:`make_mesh`.

    Returns:
      A tree of ``NamedSharding``.
    """
    return jax.tree.map(lambda x: NamedSharding(mesh, state_spec(x, mesh)), state)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: its rows over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device has."""
    return NamedSharding(mesh, PartitionSpec())


def place_state(state: T, mesh: Mesh) -> T:
    """Places a state on a mesh with the sharding of :func:`state_sharding`, for ``'jit'`` and ``'pmap'`` steps.

    With several processes each passes the same values. A leaf with that sharding may share its buffer with the result.
    """
    return jax.tree.map(place, state, state_sharding(state, mesh))


def replicate(tree: T, mesh: Mesh) -> T:
    """Places full copies of all arrays on every device, from any sharding."""
    everywhere = replicated(mesh)
    return jax.tree.map(lambda x: place(x, everywhere), tree)


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


def place_batch(batch: T, mesh: Mesh) -> T:
    """Places a batch on a mesh, its rows split over all devices.

    Args:
      batch: tree of NumPy arrays, the rows of this process: all of them with one process, rows
        ``[pB/P, (p+1)B/P)`` of the global batch of B in process p of P. Arrays on these devices are left alone.
      mesh: from :func:`make_mesh`.

    Returns:
      The global batch, arrays ``(B, ...)``.

    Raises:
      ValueError: if the devices of a process do not divide its rows.
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


def check_rows(batch: PyTree, mesh: Mesh, accumulate: int = 1) -> None:
    """Raises ``ValueError`` unless all devices and micro-batches get the same number of rows of a batch."""
    rows = batch_sharding(mesh)
    for x in jax.tree.leaves(batch):
        given = getattr(x, "sharding", None) != rows and not rows.is_fully_addressable
        size = x.shape[0] * (jax.process_count() if given else 1)
        if size < 1 or size % (mesh.size * accumulate):
            raise ValueError(
                f"the global batch must be divisible by devices x accumulate = {mesh.size} x {accumulate} "
                f"= {mesh.size * accumulate}, got {size}"
            )

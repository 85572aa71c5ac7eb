"""The axes of a mesh, how an array of a train state is split over them, and one array on its devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scorekit.typing import Array, PyTree

AXES = ("data", "fsdp")
"""The axes of a mesh; rows of a batch are split over both."""


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
        given = getattr(x, "sharding", None) != rows and not rows.is_fully_addressable
        size = x.shape[0] * (jax.process_count() if given else 1)
        if size < 1 or size % (mesh.size * accumulate):
            raise ValueError(
                f"the global batch must be divisible by devices x accumulate = {mesh.size} x {accumulate} "
                f"= {mesh.size * accumulate}, got {size}"
            )

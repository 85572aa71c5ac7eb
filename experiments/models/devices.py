"""Models on all devices of all processes: full parameters on each of them, and the rows of a batch spread over them."""

from typing import TypeVar

import jax

from scorekit import training
from scorekit.training.devices import batch_sharding, replicated
from scorekit.typing import PyTree

T = TypeVar("T")


def everywhere(params: PyTree) -> PyTree:
    """Parameters, however they are split, as full copies on every device."""
    return training.replicate(params, training.make_mesh())


def spread(batch: T) -> T:
    """Inside ``jit``: the rows of a batch are computed on all devices, each its share; any number of rows."""
    rows = batch_sharding(training.make_mesh())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, rows), batch)


def collect(batch: T) -> T:
    """Inside ``jit``: the rows of all devices, known to every process."""
    full = replicated(training.make_mesh())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, full), batch)

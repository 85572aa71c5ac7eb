"""Models on all devices of all processes: full parameters on each of them, and the rows of a batch spread over them."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

from scorekit import training
from scorekit.training import batch_sharding, replicated

T = TypeVar("T")


def everywhere(tree: T) -> T:
    """Arrays, however they are split, as full copies on every device; each process passes the same values."""
    return training.replicate(tree, training.make_mesh())


def spread(batch: T) -> T:
    """Inside ``jit``: the rows of a batch are computed on all devices, each its share; any number of rows."""
    rows = batch_sharding(training.make_mesh())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, rows), batch)


def collect(batch: T) -> T:
    """Inside ``jit``: the rows of all devices, on each of them."""
    full = replicated(training.make_mesh())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, full), batch)


def spread_jit(function: Callable, **options: Any) -> Callable:
    """``jax.jit`` of a function that spreads its work; every device, so every process, gets the full result.

    Arguments by keyword are static.
    """
    run = jax.jit(function, out_shardings=replicated(training.make_mesh()), **options)
    return lambda *args, **static: run(*everywhere(args), **static)

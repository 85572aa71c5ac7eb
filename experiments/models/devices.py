"""Models on all devices of all processes: full parameters on each of them, the rows of a batch spread over them, and
whether a network fits its data and this machine, found on shapes alone before anything is compiled or written.
"""

import contextlib
import contextvars
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax
from jax.sharding import Mesh

from experiments.cli.config import Config, ConfigError, named_errors
from experiments.cli.progress import human
from scorekit import training
from scorekit.training import batch_sharding, replicated
from scorekit.typing import PyTree

T = TypeVar("T")


_PLANNED: contextvars.ContextVar[Mesh | None] = contextvars.ContextVar("planned", default=None)


@contextlib.contextmanager
def planned_on(mesh: Mesh) -> Iterator[None]:
    """Programs that are built inside are for the devices of this mesh, which need not be at hand."""
    token = _PLANNED.set(mesh)
    try:
        yield
    finally:
        _PLANNED.reset(token)


def all_devices() -> Mesh:
    """All devices of all processes, or those that programs are planned for."""
    return _PLANNED.get() or training.make_mesh()


def everywhere(tree: T) -> T:
    """Arrays, however they are split, as full copies on every device; each process passes the same values."""
    return training.replicate(tree, all_devices())


def spread(batch: T) -> T:
    """Inside ``jit``: the rows of a batch are computed on all devices, each its share; any number of rows."""
    rows = batch_sharding(all_devices())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, rows), batch)


def collect(batch: T) -> T:
    """Inside ``jit``: the rows of all devices, on each of them."""
    full = replicated(all_devices())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, full), batch)


def spread_jit(function: Callable, **options: Any) -> Callable:
    """``jax.jit`` of a function that spreads its work; every device, so every process, gets the full result.

    Arguments by keyword are static. ``trace(*args)`` of the result, a method of ``jax.jit``, takes shapes as well.
    """
    full = replicated(all_devices())
    run = jax.jit(function, out_shardings=full, **options)
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=full)

    def call(*args, **static):
        return run(*everywhere(args), **static)

    cast(Any, call).trace = lambda *args: run.trace(*jax.tree.map(shape, jax.eval_shape(lambda: args)))
    return call


COPIES = 4
"""Least copies of the parameters in training: themselves, their gradient and two moments of it."""


def param_shapes(config: Config, section: str, init: Callable[[], PyTree], *, copies: int = 1) -> PyTree:
    """The shapes of the parameters that ``init()`` makes.

    Args:
      section: section of the network in the config.
      init: makes the parameters; traced and not run.
      copies: number of copies in memory, at least.
    """
    fields = [field for field in config[section] if field != "name"]
    with named_errors(section, config[section].get("name", section), fields):
        shapes = jax.eval_shape(init)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    needed = copies * sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    if needed > memory():
        raise ConfigError(
            f"config.{section}: has {human(count)} parameters, which take at least {human(needed)} bytes, and this "
            f"machine has {human(memory())}; make it smaller"
        )
    return shapes


def memory() -> int:
    """The bytes of all devices, or of the main memory where devices do not say."""
    device = jax.local_devices()[0]
    of_device = (device.memory_stats() or {}).get("bytes_limit")
    if of_device is not None:
        return of_device * jax.device_count()
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

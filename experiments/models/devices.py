"""Models on all devices of all processes: full parameters on each of them, the rows of a batch spread over them, and
whether a network fits its data and this machine, found on shapes alone before anything is compiled or written.
"""

import contextlib
import contextvars
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import jax
from jax.sharding import Mesh

from experiments.cli.config import ConfigError, named_errors
from experiments.cli.progress import human
from scorekit import training
from scorekit.training import batch_sharding, replicated, state_sharding
from scorekit.trees import batch_size
from scorekit.typing import Array, PyTree

T = TypeVar("T")


class Planned(NamedTuple):
    """Devices that programs are planned for, and the bytes that one of them has."""

    devices: list[Any]
    memory: float


class Device(NamedTuple):
    """The devices of a run: their platform, their number, and the bytes of one of them (main memory for CPUs)."""

    platform: str
    count: int
    memory: float


_PLANNED: contextvars.ContextVar[Planned | None] = contextvars.ContextVar("planned", default=None)


@contextlib.contextmanager
def planned_on(devices: list[Any], memory: float) -> Iterator[None]:
    """Programs that are built inside are for these devices, which need not be at hand, with so many bytes each."""
    token = _PLANNED.set(Planned(devices, memory))
    try:
        yield
    finally:
        _PLANNED.reset(token)


def all_devices(fsdp: int = 1) -> Mesh:
    """All devices of all processes, or those that programs are planned for, ``fsdp`` of which hold one copy."""
    planned = _PLANNED.get()
    return training.make_mesh(fsdp, planned.devices if planned else None)


def holding(params: PyTree, fsdp: int) -> Mesh:
    """The mesh that holds the parameters of a sampler.

    Every device has a copy. Where it would take more than half of a device, ``fsdp`` of them hold one, as in training
    (all of them where it does not divide their number); parameters are then gathered as the network is evaluated.
    """
    planned = _PLANNED.get()
    has = planned.memory if planned else (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", math.inf)
    split = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(params)) > has / 2
    devices = all_devices().size
    return all_devices(1 if not split else fsdp if fsdp > 0 and devices % fsdp == 0 else devices)


def hold(params: T, fsdp: int) -> T:
    """The parameters of a sampler on the mesh of :func:`holding`."""
    return training.place_state(params, holding(params, fsdp))


def everywhere(tree: T) -> T:
    """Arrays, however they are split, as full copies on every device; each process passes the same values."""
    return training.replicate(tree, all_devices())


def spread(batch: T) -> T:
    """Inside ``jit``: the rows of a batch are computed on all devices, each its share; any number of rows."""
    rows = batch_sharding(all_devices())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, rows), batch)


def over_all_rows(function: Callable[..., Array], *rows: PyTree) -> Array:
    """``function(*rows)`` of the rows of all devices in a training step, of which each keeps the results of its own."""
    first, b = 0, batch_size(rows[0])
    for axis in ("fsdp", "data"):  # those that the step is mapped over, the last of which varies first
        try:
            place = jax.lax.axis_index(axis)
        except NameError:
            continue
        first += place * batch_size(rows[0])
        rows = jax.tree.map(lambda x, axis=axis: jax.lax.all_gather(x, axis, tiled=True), rows)
    return jax.lax.dynamic_slice_in_dim(function(*rows), first, b)


def collect(batch: T) -> T:
    """Inside ``jit``: the rows of all devices, on each of them."""
    full = replicated(all_devices())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, full), batch)


def spread_jit(function: Callable, fsdp: int = 1, **options: Any) -> Callable:
    """``jax.jit`` of a function that spreads its work; every device, so every process, gets the full result.

    The first argument is parameters, placed by :func:`hold`; others are copied to every device. Arguments by keyword
    are static. ``trace(*args)`` of the result, a method of ``jax.jit``, takes shapes as well.
    """
    run = jax.jit(function, out_shardings=replicated(all_devices()), **options)

    def call(params, *args, **static):
        return run(hold(params, fsdp), *everywhere(args), **static)

    def trace(*args, **static):
        params, *others = jax.eval_shape(lambda: args)
        return run.trace(placed_shapes(params, holding(params, fsdp)), *placed_shapes(others, all_devices()), **static)

    cast(Any, call).trace = trace
    return call


def placed_shapes(tree: PyTree, mesh: Mesh) -> PyTree:
    """Shapes with the sharding that :func:`scorekit.training.place_state` gives to arrays of them."""
    shape = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    return jax.tree.map(shape, tree, state_sharding(tree, mesh))


COPIES = 4
"""Least copies of the parameters in training: themselves, their gradient and two moments of it."""


def param_shapes(section: str, values: Mapping[str, Any], init: Callable[[], PyTree], *, copies: int = 1) -> PyTree:
    """The shapes of the parameters that ``init()`` makes.

    Args:
      section: section of the network in the config.
      values: its fields.
      init: makes the parameters; traced and not run.
      copies: number of copies in memory, at least.
    """
    with named_errors(section, values.get("name", section), values.keys() - {"name"}):
        shapes = jax.eval_shape(init)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    needed = copies * sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    if needed > memory():
        raise ConfigError(
            f"config.{section}: has {human(count)} parameters, which take at least {human(needed)} bytes, and this "
            f"machine has {human(memory())}; make it smaller"
        )
    return shapes


def device() -> Device:
    """The devices of all processes, or those that programs are planned for."""
    planned = _PLANNED.get()
    devices = planned.devices if planned else jax.devices()
    return Device(devices[0].platform, len(devices), planned.memory if planned else memory() / len(devices))


def memory() -> int:
    """The bytes of all devices, or of the main memory where devices do not say."""
    device = jax.local_devices()[0]
    of_device = (device.memory_stats() or {}).get("bytes_limit")
    if of_device is not None:
        return of_device * jax.device_count()
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

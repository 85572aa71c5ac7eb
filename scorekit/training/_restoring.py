"""The files of checkpoints: their metadata, the checksum of every array, and errors for damaged ones."""

import contextlib
import gc
import json
import logging
import sys
import zlib
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp
from etils import epath

from scorekit.checks import warn_caller
from scorekit.io import in_bucket
from scorekit.training._trees import Nested, checksums, differences, nested_shapes
from scorekit.typing import PyTree


def absolute(directory: str | PathLike) -> epath.Path:
    """The absolute path of a folder of this machine, or of a bucket."""
    path = epath.Path(directory)
    return path if in_bucket(path) else path.resolve()


BROKEN = "broken-"
"""The prefix of a damaged checkpoint that was renamed."""


class Broken(Exception):
    """The checkpoint cannot be read; the message is the reason."""


class DoesNotFit(Exception):
    """The checkpoint is intact but holds a different structure."""


def steps_in(directory: epath.Path) -> list[int]:
    """The steps that have a complete checkpoint, or a file of that name instead, ascending."""
    entries = directory.iterdir() if directory.exists() else ()
    files = {int(path.name) for path in entries if path.name.isdecimal() and not path.is_dir()}
    return sorted(files.union(found.step for found in ocp.path.step.standard_name_format().find_all(directory)))


def set_aside(directory: epath.Path) -> list[str]:
    """The names of damaged checkpoints that were renamed before."""
    return sorted(path.name for path in directory.glob(f"{BROKEN}*"))


def context() -> ocp.Context:
    """How orbax writes and reads: the metadata as JSON, and only the arrays that are asked for."""
    made, handlers = ocp.Context(), ocp.handlers
    made.checkpointables.registry = handlers.local_registry().add(handlers.JsonHandler, checkpointable_name="extra")
    made.pytree.loading.partial_load = True
    return made


def record(step: int, nested: Nested, extra: dict[str, Any]) -> dict[str, Any]:
    """The JSON metadata: step; ``extra``; dtype, shape and checksum of every array; and a checksum of the metadata."""
    try:
        extra = json.loads(json.dumps(extra))  # a copy, because it is written later
    except TypeError as error:
        raise ValueError(f"extra must be JSON-serialisable, got {extra}: {error}") from error
    sums = jax.device_get(checksums(nested))
    arrays = jax.tree.map(lambda x, checksum: [x.dtype.name, list(x.shape), int(checksum)], nested, sums)
    return {"step": int(step), "extra": extra, "arrays": arrays, "checksum": _checksum(extra, arrays, int(step))}


def read(path: epath.Path, choose: Callable[[Nested], Nested]) -> tuple[Nested, dict[str, Any]]:
    """Reads and verifies the part of a checkpoint given by ``choose(shapes of all arrays)``, and ``extra``."""
    try:
        with quiet_orbax():
            return _read(path, choose)
    except DoesNotFit as error:
        raise ValueError(f"checkpoint {path} does not fit: {error}") from None
    except (MemoryError, PermissionError, jax.errors.JaxRuntimeError):
        raise  # a failure of the machine, not of the checkpoint
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        reason = f"{type(root).__name__}: {root}".split("\n")[0][:300]
    del root  # it holds the failed reads of orbax, each of which asyncio logs when it is freed
    with quiet_orbax():
        gc.collect()
    raise Broken(reason)


def fitting(saved: Nested, like: PyTree) -> Nested:
    """The shapes of ``like``, nested; raises :class:`DoesNotFit` if they are not the shapes of ``saved``."""
    wanted = nested_shapes(like)
    found = differences(saved, wanted)
    if found:
        more = f" and {len(found) - 6} more" if len(found) > 6 else ""
        raise DoesNotFit("; ".join(found[:6]) + more)
    return wanted


def warn_broken(path: epath.Path, reason: Exception, consequence: str) -> None:
    """Warns in one line."""
    warn_caller(f"checkpoint {path} is broken ({reason}); {consequence}")


class OrbaxFilter(logging.Filter):
    """Drops log records of orbax and of its asyncio tasks: failures are raised as exceptions."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != "asyncio" and "orbax" not in record.pathname


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """A context in which orbax writes nothing to the logs of absl and asyncio, nor about reads that it abandons."""
    loggers, filtered = [logging.getLogger(name) for name in ("absl", "asyncio")], OrbaxFilter()
    hook = sys.unraisablehook

    def drop_abandoned(unraisable: Any) -> None:
        if "_read_array_index" not in repr(unraisable.object):
            hook(unraisable)

    for logger in loggers:
        logger.addFilter(filtered)
    sys.unraisablehook = drop_abandoned
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger in loggers:
            logger.removeFilter(filtered)


def metadata(path):
    if not path.is_dir():
        raise NotADirectoryError("it is a file, not a folder")
    there = path / "extra" / "data.json"
    there = there if there.exists() else path / "extra" / "metadata"  # as earlier versions wrote it
    found = json.loads(there.read_text())
    step = [found["step"]] if "step" in found else []  # checkpoints of earlier versions do not say it
    if found["checksum"] != _checksum(found["extra"], found["arrays"], *step):
        raise OSError(f"the checksum of extra/{there.name} is wrong")
    if step and step != [int(path.name)]:
        raise OSError(f"it was saved as step {step[0]} and renamed since")
    return found


def _read(path, choose):
    found = metadata(path)
    is_array = lambda x: isinstance(x, list)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x[1], jnp.dtype(x[0])), found["arrays"], is_leaf=is_array)
    target = nested_shapes(choose(shapes))
    reading = context()
    reading.multiprocessing.primary_host = jax.process_index()  # each process reads on its own
    reading.multiprocessing.active_processes = {jax.process_index()}
    with _agreed(target), reading:
        restored = ocp.load(path, target, checkpointable_name="state")
    for keys, checksum in jax.tree_util.tree_leaves_with_path(jax.device_get(checksums(restored))):
        names = [key.key for key in keys]
        if checksum != descend(found["arrays"], names)[2]:
            raise OSError(f"the checksum of {'/'.join(names)} is wrong")
    return restored, found["extra"]


@contextlib.contextmanager
def _agreed(target: Nested) -> Iterator[None]:
    """If arrays lie on several processes, what one of them cannot read is an error in all."""
    failed = None
    try:
        yield
    except Exception as error:
        failed = error
    if not all(x.sharding.is_fully_addressable for x in jax.tree.leaves(target)):
        from jax.experimental import multihost_utils

        if multihost_utils.process_allgather(np.array(failed is not None)).any() and failed is None:
            raise OSError("another process cannot read it")
    if failed is not None:
        raise failed


def _checksum(extra, arrays, *step):
    return zlib.crc32(json.dumps([extra, arrays, *step]).encode())


def descend(tree, names):
    for name in names:
        tree = tree[name]
    return tree

"""Several processes, on one machine or many: how they find each other, which one of them writes, how they end.

The same command runs in every process::

    python -m experiments.train --config=… --workdir=… --distributed  # SLURM, Open MPI, Kubernetes, TPU pods
    python -m experiments.train --config=… --workdir=… --coordinator=host0:1234 --processes=2 --process_id=0

Every process computes; the first one writes and prints. A program defines the flags by
:func:`experiments.cli.flags.distributed`; :mod:`experiments.cli.command_line` calls :func:`start`.
"""

import ctypes
import os
import signal
import sys
import tempfile
from pathlib import Path

from absl import flags

from experiments.cli import interrupts
from experiments.cli.config import ConfigError

NAMES = ("distributed", "coordinator", "processes", "process_id", "heartbeat")
"""The flags of several processes."""
_process = 0
_processes = 1

_PATIENCE = 24 * 3600
"""Seconds that processes which have ended their work wait for the first one, which writes."""


def wanted() -> bool:
    """Whether this program is one of several processes."""
    values = flags.FLAGS
    if "coordinator" not in values:
        return False
    named = ("coordinator", "processes", "process_id")
    given = [name for name in named if values[name].value is not None]
    if given and len(given) < len(named):
        missing = ", ".join(f"--{name}" for name in named if name not in given)
        raise ConfigError(f"--{given[0]}={values[given[0]].value}: {missing} must be given with it")
    if given and values.process_id >= values.processes:
        raise ConfigError(f"--process_id={values.process_id}: must be below --processes={values.processes}")
    return bool(values.distributed or given)


def start() -> None:
    """Joins the processes; afterwards ``jax.devices()`` lists the devices of all of them."""
    global _process, _processes
    import jax  # late: a command line is parsed without it
    from jax.experimental import multihost_utils

    values = flags.FLAGS
    ctypes.CDLL(None).signal(signal.SIGABRT, _aborted)  # at once: a handler of Python runs later, which is too late
    jax.config.update("jax_enable_preemption_service", False)  # its handler would take SIGTERM from ours
    try:
        jax.distributed.initialize(
            values.coordinator,
            values.processes,
            values.process_id,
            cluster_detection_method="deactivate" if values.coordinator else None,
            heartbeat_timeout_seconds=values.heartbeat,
            shutdown_timeout_seconds=_PATIENCE,
        )
    except (ValueError, RuntimeError) as error:  # the latter is JaxRuntimeError
        reason = " ".join(str(error).split())[:300]
        if values.coordinator:
            raise ConfigError(
                f"--coordinator={values.coordinator}: not all processes were reached: {reason}"
            ) from error
        raise ConfigError(
            f"--distributed: no cluster was found ({reason}); give --coordinator=host:port, --processes and "
            f"--process_id"
        ) from error
    _process, _processes = jax.process_index(), jax.process_count()
    multihost_utils.sync_global_devices("start")  # the connections between CPUs are made while all are here
    if not is_first():
        sys.stdout.flush()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)  # for the rest of the program, libraries included


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return _process == 0


def is_one_of_several() -> bool:
    """Whether there are other processes."""
    return _processes > 1


def lost_peer(error: BaseException) -> str | None:
    """What to tell a person of an error that another process of this program has caused by ending; None of others."""
    words = ("gloo", "connection", "heartbeat", "unavailable", "peer", "coordination", "barrier", "deadline", "nccl")
    if not is_one_of_several() or not any(word in str(error).lower() for word in words):
        return None
    return _lost(" ".join(str(error).split())[:160])


def _lost(reason: str) -> str:
    return (
        f"another process of this program has ended or cannot be reached ({reason}); start all of them again with the "
        f"same command: it continues from the newest checkpoint"
    )


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _aborted(_: int) -> None:
    """The last line of a process that XLA ends with SIGABRT, from a thread of its own and after its stack."""
    os.write(2, f"\nerror: {_lost('most likely: XLA has aborted this one, see above')}\n".encode())
    interrupts.leave_with(1)


def folder(own: Path) -> Path:
    """Where this process writes: ``own``, or of other processes than the first a folder that is removed at the end."""
    if is_first():
        return own
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="scorekit-", ignore_cleanup_errors=True))
    return Path(_folders[0].name) / own.name


_folders: list[tempfile.TemporaryDirectory] = []


def finish() -> None:
    """Removes the files that only this process has written."""
    while _folders:
        _folders.pop().cleanup()

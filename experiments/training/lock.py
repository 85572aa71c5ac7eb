"""The lock of a folder into which one process trains: a second one is told which process that is.

The lock is a file with the host and the process, which the kernel locks (``flock``) as long as its holder lives: the
lock of a killed process is free at once, and of two that start together one holds it. A bucket has no lock, nor has a
file system without ``flock``.
"""

import contextlib
import fcntl
import functools
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from experiments.cli import interrupts, outputs
from experiments.cli.endings import ProgramError
from experiments.cli.flags import check_writable
from scorekit.io import in_bucket

NAME = ".lock"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """A context in which this process is the only one that trains into ``folder``, which is made.

    With several processes the first of them holds the lock for all.

    Raises:
      ProgramError: if another process trains there.
    """
    folder = folder if in_bucket(folder) else folder.resolve()
    file, error, is_new = None, None, not folder.exists()
    if jax.process_index() == 0:
        try:
            outputs.check_run(f"--workdir={folder}", folder)
            check_writable(folder, f"--workdir={folder}")
            file = None if in_bucket(folder) else _locked(folder / NAME)
        except Exception as caught:
            error = caught
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        failed = multihost_utils.broadcast_one_to_all(np.array(error is not None))
        if failed and error is None:
            raise SystemExit(1)  # the first process has said why
    if error is not None:
        raise error
    if file is None:
        yield
        return
    release = functools.partial(_release, folder / NAME, file)
    interrupts.BEFORE_LEAVING.append(release)
    try:
        yield
    finally:
        interrupts.BEFORE_LEAVING.remove(release)
        release()
        if is_new:  # nothing was written, say because the config is invalid
            with contextlib.suppress(OSError):
                folder.rmdir()


def _locked(path: Path) -> int | None:
    """The open and locked file of a lock, made if missing; None where the file system has no locks."""
    while True:
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(path), os.fstat(file)):
                path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
                return file
        except BlockingIOError as error:
            os.close(file)
            raise ProgramError(
                f"{path.parent}: {_holder(path)} trains here; wait for it, stop it, or use another folder"
            ) from error
        except FileNotFoundError:
            pass
        except OSError:
            _release(path, file)
            return None
        os.close(file)  # its holder has removed it in this moment


def _holder(path: Path) -> str:
    try:
        record = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # it is being written
        return "another process"
    return f"process {record.get('pid')} on {record.get('host')}"


def _release(path: Path, file: int) -> None:
    path.unlink(missing_ok=True)
    os.close(file)

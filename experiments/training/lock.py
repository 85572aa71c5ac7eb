"""The lock of a folder into which one process trains: a second one is told which process that is.

The lock is a file with the host and the process, which the kernel locks (``flock``) as long as its holder lives: the
lock of a killed process is free at once, and of two that start together one holds it. In a bucket, and on a file
system without ``flock``, the holder renews the file, and the lock is free two minutes after it was last renewed.
"""

import contextlib
import fcntl
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.cli import interrupts, outputs
from experiments.cli.endings import ProgramError
from experiments.cli.flags import check_writable
from scorekit.io import in_bucket

NAME = ".lock"
RENEWED_EVERY, FREE_AFTER, SETTLED_AFTER = 30.0, 120.0, 2.0
"""Seconds; the last for another process that takes the lock at the same moment, where the kernel does not help."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """A context in which this process is the only one that trains into ``folder``, which is made.

    With several processes the first of them holds the lock for all.

    Raises:
      ProgramError: if another process trains there.
    """
    folder = folder if in_bucket(folder) else folder.resolve()
    release, error, is_new = None, None, not folder.exists()
    if jax.process_index() == 0:
        try:
            outputs.check_run(f"--workdir={folder}", folder)
            check_writable(folder, f"--workdir={folder}")
            release = _taken(folder / NAME)
        except Exception as caught:
            error = caught
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        failed = multihost_utils.broadcast_one_to_all(np.array(error is not None))
        if failed and error is None:
            raise SystemExit(1)  # the first process has said why
    if error is not None:
        raise error
    if release is None:
        yield
        return
    interrupts.BEFORE_LEAVING.append(release)
    try:
        yield
    finally:
        interrupts.BEFORE_LEAVING.remove(release)
        release()
        if is_new:  # nothing was written, say because the config is invalid
            with contextlib.suppress(OSError, ValueError):  # the latter of a folder in a bucket
                folder.rmdir()


def _taken(path: Path) -> Callable[[], None]:
    """Takes the lock and returns the function that releases it."""
    file = None if in_bucket(path) else _locked(path)
    return _renewed(path) if file is None else functools.partial(_release, path, file)


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
            raise _in_use(path) from error
        except FileNotFoundError:
            pass
        except OSError:
            os.close(file)
            return None
        os.close(file)  # its holder has removed it in this moment


def _renewed(path: Path) -> Callable[[], None]:
    """Takes a lock that the kernel does not keep, renews it in a thread, and returns the function that releases it."""
    record = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
    renew = lambda: path.write_text(json.dumps({**record, "renewed": time.time()}))
    is_mine = lambda: _read(path).get("token") == record["token"]
    if time.time() - _read(path).get("renewed", 0.0) < FREE_AFTER:
        raise _in_use(path)
    renew()
    time.sleep(SETTLED_AFTER)
    if not is_mine():
        raise _in_use(path)
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(RENEWED_EVERY):
            with contextlib.suppress(OSError):
                if is_mine():
                    renew()

    def release() -> None:
        ended.set()
        if is_mine():
            path.unlink(missing_ok=True)

    threading.Thread(target=keep, name="lock", daemon=True).start()
    return release


def _read(path: Path) -> dict[str, Any]:
    """The record of a lock, empty if there is none that can be read, such as one that is being written."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _in_use(path: Path) -> ProgramError:
    record = _read(path)
    holder = f"process {record.get('pid')} on {record.get('host')}" if record else "another process"
    return ProgramError(f"{path.parent}: {holder} trains here; wait for it, stop it, or use another folder")


def _release(path: Path, file: int) -> None:
    path.unlink(missing_ok=True)
    os.close(file)

"""The lock of a folder into which one process trains: a second one is told which process that is.

The lock is a file with the host, its boot, the process and a random token. On one machine the kernel keeps it: the file
is locked with ``flock`` as long as its holder lives, so that the lock of a killed process is taken over at once, and of
two that start together one holds it. Where the kernel does not see the holder (another machine, a file system without
such locks, a bucket), the holder touches the file every 30 seconds, and it is stale after two minutes.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.cli import interrupts, outputs
from experiments.cli.endings import ProgramError
from experiments.cli.flags import check_writable
from scorekit.io import in_bucket

NAME = ".lock"
TOUCHED_EVERY, STALE_AFTER, SETTLED_AFTER = 30.0, 120.0, 2.0
"""Seconds; the last for another process that takes the lock at the same moment, where the kernel does not help."""

_held: dict[Path, "Lock | None"] = {}


@contextlib.contextmanager
def hold(folder: Path) -> Iterator["Lock | None"]:
    """A context in which this process is the only one that trains into ``folder``, which is made.

    With several processes the first of them holds the lock for all, and the others get None. A process that holds the
    lock already gets the same one.
    """
    folder = folder if in_bucket(folder) else folder.resolve()
    if folder in _held:
        yield _held[folder]
        return
    lock, error, is_new = None, None, not folder.exists()
    if jax.process_index() == 0:
        try:
            outputs.check_run(f"--workdir={folder}", folder)
            check_writable(folder, f"--workdir={folder}")
            lock = Lock(folder / NAME)
        except Exception as caught:
            error = caught
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        failed = multihost_utils.broadcast_one_to_all(np.array(error is not None))
        if failed and error is None:
            raise SystemExit(1)  # the first process has said why
    if error is not None:
        raise error
    _held[folder] = lock
    try:
        yield lock
    finally:
        del _held[folder]
        if lock is not None:
            lock.release()
            if is_new:  # nothing was written, say because the config is invalid
                with contextlib.suppress(OSError, ValueError):  # the latter of a folder in a bucket
                    folder.rmdir()


class Lock:
    """The lock of an existing folder, held from construction to :meth:`release`."""

    def __init__(self, path: Path):
        boot = Path("/proc/sys/kernel/random/boot_id")
        machine = {"host": socket.gethostname(), "boot": boot.read_text().strip() if boot.exists() else ""}
        self._record = {**machine, "pid": os.getpid(), "token": uuid.uuid4().hex}
        self._path, self._released = path, threading.Event()
        self._file, locked = (None, False) if in_bucket(path) else _open_locked(path)
        try:
            record, age = _read(path)
            is_gone = locked and all(record.get(name) == value for name, value in machine.items())
            if record and not is_gone and age < STALE_AFTER:
                raise _in_use(path)
            self._write()
            if not locked:
                time.sleep(SETTLED_AFTER)
                self.check()
        except BaseException:
            if self._file is not None:
                os.close(self._file)
            raise
        threading.Thread(target=self._touch, name="lock", daemon=True).start()
        interrupts.BEFORE_LEAVING.append(self.release)

    def _write(self) -> None:
        self._path.write_text(json.dumps({**self._record, "touched": time.time()}))

    def _touch(self) -> None:
        while not self._released.wait(TOUCHED_EVERY):
            with contextlib.suppress(OSError):
                if self._file is not None:
                    os.utime(self._file)  # a file that is written is empty for a moment
                elif self._is_mine():
                    self._write()

    def _is_mine(self) -> bool:
        return _read(self._path)[0].get("token") == self._record["token"]

    def check(self) -> None:
        """Raises a ``ProgramError`` if another process has taken the lock over, say after this one was suspended."""
        if not self._is_mine():
            raise _in_use(self._path)

    def release(self) -> None:
        """Removes the file; a second call does nothing."""
        if self._released.is_set():
            return
        if self._is_mine():
            self._path.unlink(missing_ok=True)
        self._released.set()  # late: the process may end in another thread as soon as this is seen
        interrupts.BEFORE_LEAVING.remove(self.release)
        if self._file is not None:
            os.close(self._file)


def _open_locked(path: Path) -> tuple[int, bool]:
    """The open file, made if missing, and whether it is locked: not all file systems can."""
    while True:
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(path), os.fstat(file)):
                return file, True
        except BlockingIOError as error:
            os.close(file)
            raise _in_use(path) from error
        except FileNotFoundError:
            pass
        except OSError:
            return file, False
        os.close(file)  # its holder has removed it in this moment


def _read(path: Path) -> tuple[dict[str, Any], float]:
    """The record of a lock, empty if there is none that can be read, and the seconds since it was touched."""
    try:
        record = json.loads(path.read_text())
        touched = record["touched"] if in_bucket(path) else path.stat().st_mtime
        return dict(record), time.time() - touched
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}, 0.0


def _in_use(path: Path) -> ProgramError:
    record, holder = _read(path)[0], f"another process trains here, or somebody has removed {NAME}"
    if record:
        holder = f"process {record.get('pid')} on {record.get('host')} trains here"
    return ProgramError(f"{path.parent}: {holder}; wait for it, stop it, or use another folder")

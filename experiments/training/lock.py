"""The lock of a folder into which one process trains: a second one is told which process that is.

The lock is a file that names the machine, the process and its start; its holder touches it every 30 seconds. It is
stale, and taken over, once that process is gone, as far as that can be seen from here (same host, same boot, same
process namespace), or when it has not been touched for two minutes.
"""

import contextlib
import json
import os
import socket
import stat
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.cli import interrupts, outputs
from experiments.cli.endings import ProgramError
from experiments.cli.flags import check_writable
from experiments.training.bucket_lock import BucketLock, lost
from scorekit.io import in_bucket

NAME = ".lock"
TOUCHED_EVERY, STALE_AFTER = 30.0, 120.0
"""Seconds."""

_held: dict[Path, "Lock | BucketLock | None"] = {}


@contextlib.contextmanager
def hold(folder: Path) -> Iterator["Lock | BucketLock | None"]:
    """A context in which this process is the only one that trains into ``folder``, which is made.

    With several processes the first of them holds the lock for all, and the others get None. A process that holds the
    lock already gets the same one. An error under a lock that another process has taken over is reported as that: it
    has moved the files that this one was writing.
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
            lock = (BucketLock if in_bucket(folder) else Lock)(folder / NAME)
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
    if lock is None:
        try:
            yield None
        finally:
            del _held[folder]
        return
    interrupts.BEFORE_LEAVING.append(lock.release)
    try:
        yield lock
    except Exception:
        lock.check()
        raise
    finally:
        interrupts.BEFORE_LEAVING.remove(lock.release)
        del _held[folder]
        lock.release()
        if is_new:  # nothing was written, say because the config is invalid
            with contextlib.suppress(OSError, ValueError):  # the latter of a folder in a bucket
                folder.rmdir()


class Lock:
    """A lock file in an existing folder, held from construction to :meth:`release`."""

    def __init__(self, path: Path):
        self._path = path
        self._file = _acquire(path, _record())
        self._released = threading.Event()
        threading.Thread(target=self._touch, name="lock", daemon=True).start()

    def _touch(self) -> None:
        while not self._released.wait(TOUCHED_EVERY):
            with contextlib.suppress(OSError):
                os.utime(self._file)  # the file that was made here, whatever has its name now

    def _is_mine(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            return False

    def check(self) -> None:
        """Raises a ``ProgramError`` if another process has taken the lock over, say after this one was suspended."""
        if not self._is_mine():
            found = _read(self._path)
            raise lost(self._path) if found is None else _in_use(self._path, found[0])

    def release(self) -> None:
        """Removes the file; a second call does nothing."""
        if self._released.is_set():
            return
        if self._is_mine():
            self._path.unlink(missing_ok=True)
        self._released.set()  # last: the process may end in another thread as soon as this is seen
        with contextlib.suppress(OSError):
            os.close(self._file)


def _record() -> bytes:
    pid = os.getpid()
    return json.dumps({**_machine(), "pid": pid, "started": started(pid), "token": uuid.uuid4().hex}).encode()


def _machine() -> dict[str, str]:
    """Where process numbers mean the same: the host, its boot, and the namespace (a container has its own)."""
    boot, namespace = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    return {"host": socket.gethostname(), "boot": boot, "namespace": namespace}


def started(pid: int) -> str | None:
    """When a process of this machine started, in the unit of its system, "" where it does not say; None if it is gone.

    >>> started(os.getpid()) is None
    False
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # of another user
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else ""
    return None if state in "ZX" else fields[18]  # a zombie has ended; the 22nd field of all is the start


def _acquire(path: Path, record: bytes) -> int:
    """Makes the lock file, or replaces a stale one; returns its descriptor."""
    while True:
        with contextlib.suppress(FileExistsError):
            return _create(path, record)
        mine = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        file = _create(mine, record)
        try:
            if (found := _read(path)) is None:
                continue  # released in this moment
            holder, touched = found
            if not _is_stale(holder, os.fstat(file).st_mtime - touched):  # both by the clock of the file system
                raise _in_use(path, holder)
            taking = path.with_name(f"{path.name}.taken")
            descriptor = _acquire(taking, record)  # one at a time; itself taken over if its holder dies here
            try:
                now = _read(path)
                if now is None or now[0] != holder:
                    continue  # another process was faster
                mine.replace(path)
                return os.dup(file)
            finally:
                taking.unlink(missing_ok=True)
                os.close(descriptor)
        finally:
            mine.unlink(missing_ok=True)
            os.close(file)


def _create(path: Path, record: bytes) -> int:
    """A new file, atomically; returns its descriptor."""
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    try:
        os.write(file, record)
    except OSError as error:  # a full disk
        os.close(file)
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    return file


def _read(path: Path) -> tuple[bytes, float] | None:
    """The record of a lock and when it was touched; None if there is no lock.

    Raises:
      ProgramError: if it is not a file, such as a link: it cannot be made anew, and reading it may never end.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ProgramError(f"{path}: must be a file that a training has made; remove it")
        return path.read_bytes(), path.stat().st_mtime
    except FileNotFoundError:
        return None


def _fields(record: bytes) -> dict[str, Any]:
    """The fields of a record; none if it is being written, or is of no lock."""
    with contextlib.suppress(ValueError):
        fields = json.loads(record)
        if isinstance(fields, dict) and isinstance(fields.get("pid"), int):
            return fields
    return {}


def _is_stale(record: bytes, age: float) -> bool:
    fields = _fields(record)
    if age > STALE_AFTER or not fields:
        return age > STALE_AFTER
    here = all(fields.get(name) == value for name, value in _machine().items())
    return here and started(fields["pid"]) != fields.get("started")


def _in_use(path: Path, record: bytes) -> ProgramError:
    fields = _fields(record)
    process = f"process {fields.get('pid', '?')} on {fields.get('host', '?')}"
    return ProgramError(f"{path.parent}: {process} trains here; wait for it, stop it, or use another folder")

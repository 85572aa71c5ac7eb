"""The lock of a folder in a bucket, where no file can be made only if it is missing, and none has an owner.

The holder writes its record with the time into an object, again every 30 seconds. Whoever wants the lock reads it; if
there is none, or an old one, it writes its own, waits for others that do the same at this moment, and holds the lock if
its record is still there.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from experiments.cli.endings import ProgramError

TOUCHED_EVERY, STALE_AFTER, SETTLED_AFTER = 30.0, 120.0, 2.0
"""Seconds."""


class BucketLock:
    """A lock object in a bucket, held from construction to :meth:`release`."""

    def __init__(self, path: Path):
        self._path = path
        self._record = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
        found = _read(path)
        if found and time.time() - found.get("touched", 0.0) < STALE_AFTER:
            raise _in_use(path, found)
        self._write()
        time.sleep(SETTLED_AFTER)
        self.check()
        self._released = threading.Event()
        threading.Thread(target=self._touch, name="lock", daemon=True).start()

    def _write(self) -> None:
        self._path.write_text(json.dumps({**self._record, "touched": time.time()}))

    def _touch(self) -> None:
        while not self._released.wait(TOUCHED_EVERY):
            with contextlib.suppress(OSError):
                if self._is_mine(_read(self._path)):
                    self._write()

    def _is_mine(self, found: dict[str, Any]) -> bool:
        return found.get("token") == self._record["token"]

    def check(self) -> None:
        """Raises a ``ProgramError`` if another process has taken the lock over."""
        found = _read(self._path)
        if not self._is_mine(found):
            raise _in_use(self._path, found) if found else lost(self._path)

    def release(self) -> None:
        """Removes the object; a second call does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        if self._is_mine(_read(self._path)):
            self._path.unlink(missing_ok=True)


def lost(path: Path) -> ProgramError:
    """The error of a lock that is gone while it is held."""
    return ProgramError(
        f"{path.parent}: the lock of this training is gone: another process has taken it over and ended, or somebody "
        f"has removed it; the same command continues from the newest checkpoint"
    )


def _read(path: Path) -> dict[str, Any]:
    """The record; empty if there is none that can be read."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _in_use(path: Path, found: dict[str, Any]) -> ProgramError:
    process = f"process {found.get('pid', '?')} on {found.get('host', '?')}"
    return ProgramError(f"{path.parent}: {process} trains here; wait for it, stop it, or use another folder")

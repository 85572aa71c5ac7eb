"""The lock of a folder: exactly one process holds it, until it ends in any way."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import time

import pytest
from jax.experimental import multihost_utils
from programs import ROOT

from experiments.cli.endings import ProgramError
from experiments.training import lock

PROGRAM = """
import sys
from pathlib import Path
from experiments.training import lock
with lock.hold(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_the_lock_names_this_process_and_is_removed(tmp_path):
    folder = tmp_path / "new" / "run"
    with lock.hold(folder):
        record = json.loads((folder / lock.NAME).read_text())
        assert record == {"pid": os.getpid(), "host": socket.gethostname()}
    assert not folder.exists(), "a folder that was made for the lock and stayed empty"
    with contextlib.suppress(KeyboardInterrupt), lock.hold(folder):
        (folder / "config.json").touch()
        raise KeyboardInterrupt
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_a_process_keeps_its_lock_until_it_is_killed(tmp_path):
    path = tmp_path / lock.NAME
    path.write_text("[1]")  # what is there of a process that was killed while it wrote
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"ready\n"
        before = path.read_bytes()
        words = f"^[^\n]*: process {process.pid} on {socket.gethostname()} trains here; wait[^\n]*$"
        with pytest.raises(ProgramError, match=words), lock.hold(tmp_path):
            pass
        assert path.read_bytes() == before
        process.kill()
        process.wait()
        assert path.read_bytes() == before
        with lock.hold(tmp_path):
            assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_without_locks_of_the_kernel_it_is_renewed(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOSYS, "Function not implemented")

    for name, value in (("SETTLED_AFTER", 0.01), ("RENEWED_EVERY", 0.01)):
        monkeypatch.setattr(lock, name, value)
    monkeypatch.setattr(lock.fcntl, "flock", flock)
    path, now = tmp_path / lock.NAME, time.time()
    with lock.hold(tmp_path):
        with pytest.raises(ProgramError, match=f"process {os.getpid()} on .* trains here"), lock.hold(tmp_path):
            pass
        first = json.loads(path.read_text())["renewed"]
        while (record := path.read_text()) == "" or json.loads(record)["renewed"] == first:
            assert time.time() < now + 60
    assert list(tmp_path.iterdir()) == []
    other = {"host": "elsewhere", "pid": 7, "token": "another"}
    path.write_text(json.dumps({**other, "renewed": now - 60}))
    with pytest.raises(ProgramError, match="process 7 on elsewhere trains here"), lock.hold(tmp_path):
        pass
    path.write_text(json.dumps({**other, "renewed": now - 121}))
    monkeypatch.setattr(lock, "RENEWED_EVERY", 60.0)
    with lock.hold(tmp_path):  # the other one has not renewed it, but comes back
        path.write_text(json.dumps({**other, "renewed": now}))
    assert json.loads(path.read_text())["pid"] == 7


def test_a_lock_that_its_holder_removes_in_this_moment_is_made_anew(tmp_path, monkeypatch):
    """Between the opening and the locking of the file: a lock of the removed file would be nobody's."""
    path, flock, calls = tmp_path / lock.NAME, lock.fcntl.flock, []

    def late(file, how):
        if not calls:
            path.unlink()
        calls.append(flock(file, how))

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with lock.hold(tmp_path):
        assert len(calls) == 2
        with pytest.raises(ProgramError, match="trains here"), lock.hold(tmp_path):
            pass


@pytest.mark.parametrize("failed", [False, True])
def test_several_processes_hold_it_together(tmp_path, monkeypatch, failed):
    """The first process holds the lock for all; the others end if it fails."""
    monkeypatch.setattr(lock.jax, "process_index", lambda: 1)
    monkeypatch.setattr(lock.jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda x: failed)
    with contextlib.ExitStack() as stack:
        if failed:
            stack.enter_context(pytest.raises(SystemExit))
        stack.enter_context(lock.hold(tmp_path))
    assert list(tmp_path.iterdir()) == []

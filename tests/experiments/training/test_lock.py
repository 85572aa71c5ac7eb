"""The lock of a folder: exactly one process holds it, and a stale one is taken over."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading

import pytest
from jax.experimental import multihost_utils
from programs import ROOT

from experiments.cli.endings import ProgramError
from experiments.training import lock

PROGRAM = """
import sys
from pathlib import Path
from experiments.training import lock
held = lock.Lock(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""


def write(folder, age=0.0, **fields):
    """A lock as another process has left it, ``age`` seconds ago."""
    path = folder / lock.NAME
    path.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": 7, "token": "another", **fields}))
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


def raises(words="trains here"):
    """One line with these words."""
    return pytest.raises(ProgramError, match=f"^[^\n]*{words}[^\n]*$")


def test_the_lock_names_this_process_and_is_removed(tmp_path):
    with lock.hold(tmp_path / "new" / "run") as held:
        record = json.loads((tmp_path / "new" / "run" / lock.NAME).read_text())
        assert (record["pid"], record["host"]) == (os.getpid(), socket.gethostname())
        assert held is not None
        held.check()
    assert not (tmp_path / "new" / "run").exists(), "a folder that was made for the lock and stayed empty"
    with lock.hold(tmp_path / "new" / "run"):
        (tmp_path / "new" / "run" / "config.json").touch()
    assert [path.name for path in (tmp_path / "new" / "run").iterdir()] == ["config.json"]


def test_the_lock_is_removed_on_errors(tmp_path):
    with pytest.raises(KeyboardInterrupt), lock.hold(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_process_can_hold_its_lock_twice(tmp_path):
    with lock.hold(tmp_path) as outer, lock.hold(tmp_path) as inner:
        assert outer is inner
    assert list(tmp_path.iterdir()) == []


def test_a_process_keeps_its_lock_until_it_is_killed(tmp_path):
    """However long it has not touched it; afterwards the lock is taken over at once."""
    path = tmp_path / lock.NAME
    command = [sys.executable, "-c", PROGRAM, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"ready\n"
        os.utime(path, (0, 0))
        before = path.read_bytes()
        with raises(f"process {process.pid} on {socket.gethostname()} trains here"), lock.hold(tmp_path):
            pass
        assert path.read_bytes() == before
        process.kill()
        process.wait()
        assert path.read_bytes() == before
        with lock.hold(tmp_path):
            assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_another_machine_is_stale_when_it_is_old(tmp_path):
    path = write(tmp_path, age=60.0)
    before = path.read_bytes()
    with raises("process 7 on elsewhere trains here"), lock.hold(tmp_path):
        pass
    assert path.read_bytes() == before
    write(tmp_path, age=121.0)
    with lock.hold(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_without_locks_of_the_file_system_age_decides(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    monkeypatch.setattr(lock, "SETTLED_AFTER", 0.01)
    path = tmp_path / lock.NAME
    with lock.hold(tmp_path) as held:
        with raises(f"process {os.getpid()} on"):
            lock.Lock(path)
        held.check()
        os.utime(path, (0, 0))
        lock.Lock(path)
        with raises(f"process {os.getpid()} on"):
            held.check()
    assert path.exists()  # it is another's


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_lock_that_nobody_holds_and_that_is_not_readable_is_taken_over(tmp_path, content):
    (tmp_path / lock.NAME).write_text(content)
    with lock.hold(tmp_path) as held:
        held.check()


@pytest.mark.parametrize("stale", [False, True])
def test_exactly_one_of_many_takers_wins(tmp_path, stale):
    path = tmp_path / lock.NAME
    for _ in range(20):
        if stale:
            write(tmp_path, age=121.0)
        takers, winners, losers = threading.Barrier(8), [], []

        def take(takers=takers, winners=winners, losers=losers):
            takers.wait()
            try:
                winners.append(lock.Lock(path))
            except ProgramError as error:
                losers.append(str(error))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(winners), len(losers)) == (1, 7)
        winners[0].check()
        winners[0].release()
        assert list(tmp_path.iterdir()) == []


def test_takers_never_hold_it_together_while_others_release_it(tmp_path):
    path, holders, most, taken = tmp_path / lock.NAME, [], [], []

    def take():
        for _ in range(200):
            with contextlib.suppress(ProgramError):
                held = lock.Lock(path)
                holders.append(held)
                most.append(len(holders))
                held.check()
                holders.remove(held)
                held.release()
                taken.append(held)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) >= 4
    assert set(most) == {1}


@pytest.mark.parametrize("another", [{"host": "elsewhere", "pid": 7}, None], ids=["live", "ended"])
def test_a_holder_that_was_taken_over_is_told_and_leaves_the_lock(tmp_path, another):
    with lock.hold(tmp_path) as held:
        (tmp_path / lock.NAME).unlink()
        if another:
            write(tmp_path, **another)
        gone = "another process trains here, or somebody has removed .lock"
        with raises("process 7 on elsewhere trains here" if another else gone):
            held.check()
    assert (tmp_path / lock.NAME).exists() == bool(another)


def test_a_live_holder_touches_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "TOUCHED_EVERY", 0.01)
    with lock.hold(tmp_path):
        path = tmp_path / lock.NAME
        os.utime(path, (0, 0))
        for _ in range(500):
            if path.stat().st_mtime > 0:
                break
            threading.Event().wait(0.01)
        assert path.stat().st_mtime > 0


@pytest.mark.parametrize("failed", [False, True])
def test_several_processes_hold_it_together(tmp_path, monkeypatch, failed):
    """The first process holds the lock for all; the others get none and end if it fails."""
    monkeypatch.setattr(lock.jax, "process_index", lambda: 1)
    monkeypatch.setattr(lock.jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda x: failed)
    with contextlib.ExitStack() as stack:
        if failed:
            stack.enter_context(pytest.raises(SystemExit))
        assert stack.enter_context(lock.hold(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []

"""The lock of a folder: exactly one process holds it, and a stale one is taken over."""

import contextlib
import json
import os
import subprocess
import sys
import threading

import pytest
from jax.experimental import multihost_utils

from experiments.cli.endings import ProgramError
from experiments.training import lock

HERE = {**lock._machine(), "pid": os.getpid(), "started": lock.started(os.getpid())}
OURS = rf"process {os.getpid()} on {HERE['host']} trains here"


def write(folder, age=0.0, **fields):
    """A lock as another process has left it, ``age`` seconds ago."""
    path = folder / lock.NAME
    path.write_text(json.dumps({**HERE, "token": "another", **fields}))
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


@pytest.fixture(scope="module")
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_names_this_process_and_is_removed(tmp_path):
    with lock.hold(tmp_path / "new" / "run") as held:
        record = json.loads((tmp_path / "new" / "run" / lock.NAME).read_text())
        assert record.items() >= HERE.items()
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


LIVE = {
    "live": {},
    "untouched for a minute": {"age": 60.0},
    "another host": {"host": "elsewhere", "pid": 2**30},
    "another boot": {"boot": "another", "pid": 2**30},
    "another container": {"namespace": "another container", "pid": 2**30},
}
STALE = {
    "recycled number": {"started": "1"},
    "untouched": {"age": 121.0},
    "another host, untouched": {"age": 121.0, "host": "elsewhere"},
    "ended": {"pid": None},
}


def raises(words="trains here"):
    """One line with these words."""
    return pytest.raises(ProgramError, match=f"^[^\n]*{words}[^\n]*$")


@pytest.mark.parametrize("record", LIVE)
def test_a_lock_that_may_be_live_raises_and_is_left(tmp_path, record):
    path = write(tmp_path, **LIVE[record])
    before = path.read_bytes()
    with raises(OURS if record == "live" else "trains here"), lock.hold(tmp_path):
        pass
    assert path.read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == [lock.NAME]


@pytest.mark.parametrize("record", STALE)
def test_a_stale_lock_is_taken_over(tmp_path, gone, record):
    write(tmp_path, **{name: value or gone for name, value in STALE[record].items()})
    with lock.hold(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text()).items() >= HERE.items()
        assert [x.name for x in tmp_path.iterdir()] == [lock.NAME]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_process_that_nobody_has_waited_for_has_ended():
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()  # it closes its output when it ends, shortly before it is a zombie
        for _ in range(1000):
            if lock.started(process.pid) is None:
                break
            threading.Event().wait(0.01)
        assert lock.started(process.pid) is None


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": "x"}'])
def test_a_lock_that_is_not_readable_is_live_until_it_is_old(tmp_path, content):
    path = tmp_path / lock.NAME
    path.write_text(content)
    with raises(), lock.hold(tmp_path):
        pass
    os.utime(path, (0, 0))
    with lock.hold(tmp_path):
        pass


@pytest.mark.parametrize("stale", [False, True])
def test_exactly_one_of_many_takers_wins(tmp_path, gone, stale):
    path = tmp_path / lock.NAME
    for _ in range(20):
        if stale:
            write(tmp_path, pid=gone)
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


def test_a_taker_that_was_slower_gives_up(tmp_path, gone, monkeypatch):
    """Another process takes the stale lock over between the reading of it and the takeover."""
    path = write(tmp_path, pid=gone)
    is_stale = lock._is_stale

    def slow(record, age):
        monkeypatch.undo()
        write(tmp_path, token="faster")
        return is_stale(record, age)

    monkeypatch.setattr(lock, "_is_stale", slow)
    with raises(OURS):
        lock.Lock(path)
    assert json.loads(path.read_text())["token"] == "faster"


def test_a_takeover_that_was_cut_short_is_taken_over(tmp_path, gone):
    write(tmp_path, pid=gone)
    taking = tmp_path / f"{lock.NAME}.taken"
    taking.write_text(json.dumps({**HERE, "pid": gone}))
    with lock.hold(tmp_path):
        assert [x.name for x in tmp_path.iterdir()] == [lock.NAME]


@pytest.mark.parametrize("another", [{"host": "elsewhere", "pid": 7}, None], ids=["live", "ended"])
def test_a_holder_that_was_taken_over_is_told_and_leaves_the_lock(tmp_path, another):
    with lock.hold(tmp_path) as held:
        (tmp_path / lock.NAME).unlink()
        if another:
            write(tmp_path, **another)
        gone = "the lock of this training is gone: another process"
        with raises("process 7 on elsewhere trains here" if another else gone):
            held.check()
    assert (tmp_path / lock.NAME).exists() == bool(another)


@pytest.mark.parametrize("another", [True, False])
def test_an_error_under_a_lock_that_was_taken_over_is_reported_as_that(tmp_path, another):
    """The other process removes the unfinished checkpoint of this one, whose save then fails."""

    def fail():
        with lock.hold(tmp_path):
            if another:
                (tmp_path / lock.NAME).unlink()
                write(tmp_path)
            raise FileNotFoundError("checkpoints/80.orbax-checkpoint-tmp/commit_success.txt")

    error = ProgramError if another else FileNotFoundError
    with pytest.raises(error, match="trains here" if another else "commit_success"):
        fail()


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

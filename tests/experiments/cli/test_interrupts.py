"""Ctrl-C and SIGTERM of real processes: one line, an exit code, what is open is closed; a second Ctrl-C leaves."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from experiments.cli import interrupts

ROOT = Path(interrupts.__file__).parents[2]
SETUP = """
    import hashlib, sys, time
    from experiments.cli import endings, interrupts

    def main():
        {main}

    with interrupts.handled(), endings.one_line():
        try:
            main()
        finally:
            print("closed", flush=True)
"""
WAITS = 'print("ready", flush=True); time.sleep(60)'
# no Python runs in the main thread meanwhile
COMPILES = """
        import threading
        threading.Timer(0.5, print, ["ready"], {"flush": True}).start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
SAVES = """
        with interrupts.deferred() as stop:
            print("ready", flush=True)
            while stop() is None:
                time.sleep(0.01)
            print("saving", flush=True)
            {saving}
        sys.exit(interrupts.EXIT_CODES[stop()])
"""


def start(main):
    """A process that runs ``main`` as a program does, once it is ready."""
    program = textwrap.dedent(SETUP).format(main=textwrap.indent(textwrap.dedent(main), 4 * " ").strip())
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def outcome(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_ctrl_c_closes_what_is_open_and_prints_one_line():
    process = start(WAITS)
    process.send_signal(signal.SIGINT)
    assert outcome(process) == (130, "closed\n", "interrupted\n")


def test_sigterm_closes_what_is_open():
    process = start(WAITS)
    process.send_signal(signal.SIGTERM)
    assert outcome(process) == (143, "closed\n", "")


def test_ctrl_c_during_garbage_collection_is_not_lost():
    collects = """
        import gc
        gc.callbacks.append(lambda *_: (gc.callbacks.clear(), print("ready", flush=True), time.sleep(60)))
        gc.collect()
        time.sleep(60)
    """
    process = start(collects)
    process.send_signal(signal.SIGINT)
    assert outcome(process) == (130, "closed\n", "interrupted\n")


def test_a_second_ctrl_c_leaves_while_no_python_runs():
    process = start(COMPILES)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two signals at the same moment are one
    process.send_signal(signal.SIGINT)
    assert outcome(process) == (130, "", "\ninterrupted again: left at once, without saving\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_deferred_signal_is_saved_first(number, code):
    process = start(SAVES.format(saving="pass"))
    process.send_signal(number)
    assert outcome(process) == (code, "saving\nclosed\n", "")


def test_a_second_ctrl_c_leaves_while_saving():
    process = start(SAVES.format(saving="time.sleep(60)"))
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "saving\n"
    process.send_signal(signal.SIGINT)
    assert outcome(process) == (130, "", "\ninterrupted again: left at once, without saving\n")


def test_what_is_registered_is_called_before_leaving(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("")
    register = f"import pathlib; interrupts.BEFORE_LEAVING.append(pathlib.Path({str(lock)!r}).unlink)"
    process = start(f"        {register}{COMPILES}")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert outcome(process)[0] == 130
    assert not lock.exists()


def test_ctrl_c_during_imports_prints_one_line():
    restored = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # background jobs ignore it
    program = f'{restored}; import experiments, time; print("ready", flush=True); time.sleep(60)'
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert outcome(process) == (130, "", "interrupted\n")


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in interrupts.EXIT_CODES]
    with pytest.raises(KeyboardInterrupt), interrupts.handled():
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in interrupts.EXIT_CODES] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_while_xla_compiles_in_a_thread_of_its_own_does_not_crash():
    program = """
        import jax
        from ml_collections import ConfigDict
        from experiments.cli import command_line

        def slow(x):
            for i in range(1000):
                x = jax.numpy.sort(x * i)
            return x

        def main(_):
            lowered = jax.jit(slow).lower(jax.numpy.ones(64))
            print("ready", flush=True)
            lowered.compile()

        command_line.run(main, ConfigDict, lambda _: None, argv=["program"])
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert outcome(process) == (143, "", "")

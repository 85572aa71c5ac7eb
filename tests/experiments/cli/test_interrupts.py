"""Ctrl-C and SIGTERM of real processes: one line, an exit code, what is open is closed; a second Ctrl-C leaves."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest
from programs import ROOT, end

from experiments.cli import interrupts

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
STEPS = f"with interrupts.deferred():{COMPILES}"
CLEANS = """
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            time.sleep(0.5)
            print("cleaned", flush=True)
"""


def ready(program):
    """A process of these lines, once it prints that it is ready."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def start(main):
    """A process that runs ``main`` as a program does."""
    return ready(textwrap.dedent(SETUP).format(main=textwrap.indent(textwrap.dedent(main), 4 * " ").strip()))


def outcome(process, *numbers):
    """The exit code, output and errors of a process that receives these signals."""
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.2)  # two signals at the same moment are one
    return end(process)


INTERRUPTED = (130, "closed\n", "interrupted\n")
LEFT = (130, "", "\ninterrupted again: left at once, without saving\n")
STOPPING = interrupts.STOPPING.decode()


@pytest.mark.parametrize(
    ("main", "numbers", "expected"),
    [
        (WAITS, [signal.SIGINT], INTERRUPTED),
        (WAITS, [signal.SIGTERM], (143, "closed\n", "")),
        (CLEANS, [signal.SIGTERM, signal.SIGTERM], (143, "cleaned\nclosed\n", "")),
        (COMPILES, [signal.SIGINT, signal.SIGINT], LEFT),
        (SAVES.format(saving="pass"), [signal.SIGINT], (130, "saving\nclosed\n", STOPPING)),
        (STEPS, [signal.SIGINT, signal.SIGINT], (130, "", STOPPING + LEFT[2])),
        (SAVES.format(saving="pass"), [signal.SIGTERM], (143, "saving\nclosed\n", "")),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM twice", "twice", "Ctrl-C deferred", "in a long step", "SIGTERM deferred"],
)
def test_what_is_open_is_closed_and_what_is_deferred_saved_unless_a_second_ctrl_c_leaves(main, numbers, expected):
    assert outcome(start(main), *numbers) == expected


def test_a_second_ctrl_c_leaves_while_saving_once_the_lock_is_released(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("")
    register = f"import pathlib; interrupts.BEFORE_LEAVING.append(pathlib.Path({str(lock)!r}).unlink)"
    process = start(f"        {register}{SAVES.format(saving='time.sleep(60)')}")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "saving\n"
    assert outcome(process, signal.SIGINT) == (130, "", STOPPING + LEFT[2])
    assert not lock.exists()


def test_a_signal_while_xla_compiles_in_a_thread_of_its_own_does_not_crash():
    process = ready("""
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
    """)
    time.sleep(0.5)
    assert outcome(process, signal.SIGTERM) == (143, "", "")

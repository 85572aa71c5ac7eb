"""Ctrl-C and SIGTERM: the first one ends a program in order, a second Ctrl-C ends the process at once.

In order means by an exception in the main thread, so that files are closed and locks are removed. Training saves a
checkpoint first; see :func:`deferred`.
"""

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""128 + the number of the signal, as a shell reports it."""

BEFORE_LEAVING: list[Callable[[], object]] = []
"""What is called before the process ends at once."""

STOPPING = b"\nstopping after the step under way, then saving; Ctrl-C again leaves without saving\n"
"""What the first Ctrl-C prints in :func:`deferred`."""

_received: list[int] = []
_unannounced: list[bytes] = []


def leave() -> NoReturn:
    """Ends the process at once. Files that are written atomically are either old or new."""
    os.write(2, b"\ninterrupted again: left at once, without saving\n")  # sys.stderr may be in use
    leave_with(EXIT_CODES[signal.SIGINT])


def leave_with(code: int) -> NoReturn:
    """Ends the process at once with an exit code, after :data:`BEFORE_LEAVING`."""
    for function in list(BEFORE_LEAVING):
        with contextlib.suppress(Exception):
            function()
    os._exit(code)


def finish(code: object) -> None:
    """Ends the process with an exit code, if a signal has ended its program; returns otherwise.

    The interpreter is not taken apart: a compilation that goes on in a thread of XLA would end in a segmentation fault.
    """
    if _received and isinstance(code, int):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        leave_with(code)


def _announce(number: int) -> None:
    while number == signal.SIGINT and _unannounced:
        with contextlib.suppress(IndexError):  # the thread or the handler of the signal, whichever is first
            os.write(2, _unannounced.pop())


def _watch(pipe: int) -> None:
    """Reads the numbers of signals as they arrive, also while the main thread is inside XLA."""
    interrupts = 0
    while number := os.read(pipe, 1):
        interrupts += number[0] == signal.SIGINT
        _announce(number[0])
        if interrupts > 1:
            leave()


@contextlib.contextmanager
def _installed(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """A context in which the first Ctrl-C raises ``KeyboardInterrupt``, the first SIGTERM ``SystemExit(143)``.

    A second Ctrl-C ends the process with exit code 130, even while the main thread compiles.
    """

    def stop(number: int, _: FrameType | None) -> None:
        _received.append(number)
        if len(_received) == 1:  # else it is ending already; a second Ctrl-C is seen by the thread
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(EXIT_CODES[signal.SIGTERM])

    _received.clear()
    read, write = os.pipe()
    os.set_blocking(write, False)
    thread = threading.Thread(target=_watch, args=(read,), name="interrupts", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        with _installed(stop):
            yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)  # ends the thread
        thread.join()
        os.close(read)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)  # no traceback while the interpreter ends


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """A context that only notes SIGINT and SIGTERM; yields a function that returns the first of them, or None.

    The caller calls it where it can stop, saves its results, and ends with the code of :data:`EXIT_CODES`. The first
    Ctrl-C prints :data:`STOPPING`, a second one ends the process at once.
    """
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        _received.append(number)
        noted.append(number)
        _announce(number)

    with _installed(note):
        _unannounced.append(STOPPING)
        try:
            yield lambda: noted[0] if noted else None
        finally:
            _unannounced.clear()

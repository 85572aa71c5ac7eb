"""The programs: train, sample, evaluate, and what they show. Only here are absl and ml_collections used."""

import os
import sys
from types import TracebackType

from experiments.cli.allocator import keep_freed_memory

_excepthook, _unraisablehook = sys.excepthook, sys.unraisablehook


def _one_line(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """For Ctrl-C while libraries are imported, before :mod:`experiments.cli.interrupts` is there."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        raise SystemExit(130)
    _excepthook(kind, error, traceback)


def _quiet(unraisable: "sys.UnraisableHookArgs") -> None:
    """Drops the callbacks of tensorstore that come after a failed save, which orbax raises itself.

    A Ctrl-C that the garbage collector would drop ends the process.
    """
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        os._exit(130)
    if str(unraisable.exc_value) != "Event loop is closed":
        _unraisablehook(unraisable)


sys.excepthook, sys.unraisablehook = _one_line, _quiet
if sys.argv[:1] == ["-m"]:  # python -m experiments.…: Python has not yet put the file of the program there
    keep_freed_memory()  # before a library starts a thread: those that are there have arenas of their own

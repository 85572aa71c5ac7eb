"""The programs: train, sample, evaluate, and what they show. Only here are absl and ml_collections used."""

import gc
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType

_excepthook = sys.excepthook


def _one_line(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Ends with one line on Ctrl-C while libraries are imported, before :mod:`experiments.cli.interrupts` is there."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        raise SystemExit(130)
    _excepthook(kind, error, traceback)


def _quiet(hook: Callable) -> Callable:
    """Drops the callbacks of tensorstore that come after a failed save or restore, which orbax raises itself.

    A Ctrl-C that the garbage collector would drop ends the process.
    """

    def quiet(found: "sys.UnraisableHookArgs | threading.ExceptHookArgs") -> None:
        if isinstance(found.exc_value, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
            os._exit(130)
        if str(found.exc_value) != "Event loop is closed":
            hook(found)

    return quiet


sys.excepthook = _one_line
sys.unraisablehook, threading.excepthook = _quiet(sys.unraisablehook), _quiet(threading.excepthook)
if sys.argv[:1] == ["-m"]:  # python -m experiments.…: Python has not yet put the file of the program there
    gc.disable()  # until the command line has imported the program: collections are a tenth of the time of that

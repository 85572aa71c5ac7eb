"""The programs: train, sample, evaluate, and what they show. Only here are absl and ml_collections used."""

import sys
import threading
from collections.abc import Callable


def _quiet(hook: Callable) -> Callable:
    """Drops the callbacks of tensorstore that come after a failed save or restore, which orbax raises itself."""

    def quiet(found: "sys.UnraisableHookArgs | threading.ExceptHookArgs") -> None:
        if str(found.exc_value) != "Event loop is closed":
            hook(found)

    return quiet


sys.unraisablehook, threading.excepthook = _quiet(sys.unraisablehook), _quiet(threading.excepthook)

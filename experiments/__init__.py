"""The programs: train, sample, evaluate, and what they show. Only here are absl and ml_collections used."""

import sys
from types import TracebackType

_default = sys.excepthook


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """One line for Ctrl-C while libraries are imported, before :mod:`experiments.cli.interrupts` is there.

    Nothing for callbacks of tensorstore that come after a failed save, which orbax raises itself.
    """
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        raise SystemExit(130)
    if not (kind is RuntimeError and str(error) == "Event loop is closed"):
        _default(kind, error, traceback)


sys.excepthook = _excepthook

"""The programs: train, sample, evaluate, and what they show. Only here are absl and ml_collections used."""

import sys
from types import TracebackType

_excepthook = sys.excepthook


def _one_line_for_ctrl_c(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """While the libraries are imported, :mod:`experiments.cli.interrupts` is not there yet."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        raise SystemExit(130)
    _excepthook(kind, error, traceback)


sys.excepthook = _one_line_for_ctrl_c

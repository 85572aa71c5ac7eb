"""Input and output of files; published weights in (:func:`load`) and weights out (:func:`export`)."""

import importlib
from typing import TYPE_CHECKING, Any

from scorekit.io.files import as_path, in_bucket, write_atomic

if TYPE_CHECKING:
    from scorekit.io.exporting import export
    from scorekit.io.loading import Loaded, load

__all__ = ["Loaded", "as_path", "export", "in_bucket", "load", "write_atomic"]

_LATE = {"Loaded": "loading", "export": "exporting", "load": "loading"}


def __getattr__(name: str) -> Any:
    """What needs the networks is imported when it is asked for: paths need nothing but Python."""
    if name in _LATE:
        return getattr(importlib.import_module(f"scorekit.io.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

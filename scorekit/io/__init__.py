"""Input and output of files; published weights in (:func:`load`) and weights out (:func:`export`).

What the inputs and the output of a network mean is in :mod:`~scorekit.io.preconditioning`; the files and layouts that
are read are in :mod:`~scorekit.io.reading`, :mod:`~scorekit.io.tensors` and :mod:`~scorekit.io.formats`.

Returns:
  The network with its parameters and the meaning of its inputs and outputs; tensors and values of files by name.
"""

import importlib
from typing import TYPE_CHECKING, Any

from scorekit._files import check_unpacked, parse_json, read_arrays, read_file, regular_file, resolved
from scorekit.io.files import as_path, check_regular, in_bucket, read_json, write_atomic

if TYPE_CHECKING:
    from scorekit.io import formats, preconditioning, reading, tensors
    from scorekit.io._exporting import export
    from scorekit.io.loading import Loaded, load

__all__ = [
    "Loaded",
    "as_path",
    "check_regular",
    "check_unpacked",
    "export",
    "formats",
    "in_bucket",
    "load",
    "parse_json",
    "preconditioning",
    "read_arrays",
    "read_file",
    "read_json",
    "reading",
    "regular_file",
    "resolved",
    "tensors",
    "write_atomic",
]

_LATE = {"Loaded": "loading", "export": "_exporting", "load": "loading"}


def __getattr__(name: str) -> Any:
    """Imports functions that need the networks on first use: paths need nothing but Python."""
    if name in _LATE:
        from scorekit._extras import flax  # noqa: F401

        return getattr(importlib.import_module(f"scorekit.io.{_LATE[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"scorekit.io.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

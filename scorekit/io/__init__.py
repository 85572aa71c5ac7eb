"""Input and output of files; published weights in (:func:`load`) and weights out (:func:`export`).

What the inputs and the output of a network mean is in :mod:`~scorekit.io.preconditioning`; the files and layouts that
are read are in :mod:`~scorekit.io.reading`, :mod:`~scorekit.io.tensors` and :mod:`~scorekit.io.formats`.

Returns:
  The network with its parameters and the meaning of its inputs and outputs; tensors and values of files by name.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit._files import check_unpacked, parse_json, read_arrays, read_file, regular_file
    from scorekit.io import formats, preconditioning, reading, tensors
    from scorekit.io._exporting import export
    from scorekit.io.files import as_path, check_regular, in_bucket, read_json, write_atomic
    from scorekit.io.loading import Loaded, load

__getattr__, __dir__ = attach(__name__)

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
    "tensors",
    "write_atomic",
]

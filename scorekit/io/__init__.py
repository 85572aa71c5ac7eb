"""Input and output of files; published weights in (:func:`load`) and weights out (:func:`export`).

What the inputs and the output of a network mean is in :mod:`~scorekit.io.preconditioning`; the files and layouts that
are read are in :mod:`~scorekit.io.reading`, :mod:`~scorekit.io.tensors` and :mod:`~scorekit.io.formats`.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit._files import check_unpacked as check_unpacked
    from scorekit._files import parse_json as parse_json
    from scorekit._files import read_arrays as read_arrays
    from scorekit._files import read_file as read_file
    from scorekit._files import regular_file as regular_file
    from scorekit.io import formats as formats
    from scorekit.io import preconditioning as preconditioning
    from scorekit.io import reading as reading
    from scorekit.io import tensors as tensors
    from scorekit.io._exporting import export as export
    from scorekit.io.files import as_path as as_path
    from scorekit.io.files import check_regular as check_regular
    from scorekit.io.files import in_bucket as in_bucket
    from scorekit.io.files import read_json as read_json
    from scorekit.io.files import write_atomic as write_atomic
    from scorekit.io.loading import Loaded as Loaded
    from scorekit.io.loading import load as load

__getattr__, __dir__ = attach(__name__)

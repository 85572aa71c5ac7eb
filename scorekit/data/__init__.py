"""Images in memory, batches as a pure function of ``(seed, step)``, and the scale of pixels.

Importing this package is cheap: TensorFlow Datasets is imported by :func:`load` only.
"""

from scorekit.data.arrays import ImageSet, load
from scorekit.data.batches import batch_at
from scorekit.data.quantisation import (
    BitsPerDim,
    bits_per_dim,
    dequantise,
    from_unit,
    to_unit,
)

__all__ = [
    "BitsPerDim",
    "ImageSet",
    "batch_at",
    "bits_per_dim",
    "dequantise",
    "from_unit",
    "load",
    "to_unit",
]

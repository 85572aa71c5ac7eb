"""Images in memory, batches as a pure function of ``(seed, step)``, and the scale of pixels.

Importing this package is cheap: TensorFlow Datasets is imported by :func:`load` only.
"""

from scorekit.data.arrays import ImageSet, load
from scorekit.data.batches import batch_at
from scorekit.data.quantisation import dequantise, from_unit, to_unit

__all__ = [
    "ImageSet",
    "batch_at",
    "dequantise",
    "from_unit",
    "load",
    "to_unit",
]

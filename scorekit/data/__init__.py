"""Images, notes and phrases in memory, batches as a pure function of ``(seed, step)``, and scaling of discrete data.

TensorFlow Datasets is imported by :func:`load`, :func:`load_notes` and :func:`load_phrases` only.
"""

from scorekit.data.arrays import ImageSet, load
from scorekit.data.batches import batch_at
from scorekit.data.quantisation import dequantise, from_unit, to_unit
from scorekit.data.sounds import NoteSet, PhraseSet, load_notes, load_phrases

__all__ = [
    "ImageSet",
    "NoteSet",
    "PhraseSet",
    "batch_at",
    "dequantise",
    "from_unit",
    "load",
    "load_notes",
    "load_phrases",
    "to_unit",
]

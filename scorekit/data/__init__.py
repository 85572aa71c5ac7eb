"""Images, notes and phrases in memory or on disk, batches as a pure function of the seed and position, augmentation.

* In memory: :func:`load`, :func:`load_notes`, :func:`load_phrases`, and :func:`batch_at` for the batch of a step.
* Of any size: :func:`open_images`, :func:`folder` and :func:`tar` are sources with random access, :func:`stream` makes
  batches of them, :func:`prefetch` places these on the device ahead of use.
* Augmentation: :func:`random_flip`, :func:`random_crop`, :func:`edm_augment`.
* Text: :func:`load_captioned` for captioned pictures, :func:`encode_captions` for captions as conditions.
* Sounds rendered from a SoundFont: the modules :mod:`~scorekit.data.soundfont`, :mod:`~scorekit.data.synthesis` and
  :mod:`~scorekit.data.phrases`; notes and piano rolls in MIDI files: :mod:`~scorekit.data.midi`.

TensorFlow Datasets is imported by the functions of sets (:func:`load`, :func:`open_images`, ``load_*``) only,
grain by :func:`stream`, Pillow by the pictures of :func:`folder` and :func:`tar`, and by :func:`read_picture`.
"""

from scorekit._quantisation import dequantise, from_unit, to_unit
from scorekit.data import builders, midi, phrases, soundfont, synthesis
from scorekit.data._pictures import read_picture
from scorekit.data.arrays import ImageSet, load, open_images
from scorekit.data.augmentation import random_crop, random_flip
from scorekit.data.batches import batch_at, local_rows
from scorekit.data.captioned import CaptionedSet, load_captioned
from scorekit.data.captions import CaptionEncoder, EncodedCaptions, encode_captions, load_caption_encoder
from scorekit.data.edm_augmentation import EDM_LABELS, edm_augment
from scorekit.data.folders import folder
from scorekit.data.prefetching import Prefetch, prefetch
from scorekit.data.sounds import NoteSet, PhraseSet, load_notes, load_phrases
from scorekit.data.streams import Source, Stream, stream
from scorekit.data.tars import tar

__all__ = [
    "EDM_LABELS",
    "CaptionEncoder",
    "CaptionedSet",
    "EncodedCaptions",
    "ImageSet",
    "NoteSet",
    "PhraseSet",
    "Prefetch",
    "Source",
    "Stream",
    "batch_at",
    "builders",
    "dequantise",
    "edm_augment",
    "encode_captions",
    "folder",
    "from_unit",
    "load",
    "load_caption_encoder",
    "load_captioned",
    "load_notes",
    "load_phrases",
    "local_rows",
    "midi",
    "open_images",
    "phrases",
    "prefetch",
    "random_crop",
    "random_flip",
    "read_picture",
    "soundfont",
    "stream",
    "synthesis",
    "tar",
    "to_unit",
]

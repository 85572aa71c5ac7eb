"""Images and sounds in memory or on disk, batches as a pure function of the seed and position, augmentation.

* In memory: :func:`load`, and :func:`batch_at` for the batch of a step.
* Of any size: :func:`open_images`, :func:`folder`, :func:`tar` and, for sounds, :func:`recordings` are sources with
  random access, :func:`stream` makes batches of them, :func:`prefetch` places these on the device ahead of use.
* Augmentation: :func:`random_flip`, :func:`random_crop`, :func:`edm_augment`.
* Text: :func:`encode_captions` for captions as conditions.
* Sounds rendered from a SoundFont: the modules :mod:`~scorekit.data.soundfont`, :mod:`~scorekit.data.synthesis` and
  :mod:`~scorekit.data.phrases`; notes and piano rolls in MIDI files: :mod:`~scorekit.data.midi`; notes as sequences of
  tokens: :mod:`~scorekit.data.events`.

* Other sets of TensorFlow Datasets: :mod:`scorekit.data.tfds` prepares and reads them without TensorFlow.

TensorFlow Datasets is imported by the functions of sets (:func:`load`, :func:`open_images`) only,
grain by :func:`stream`, Pillow by the pictures of :func:`folder` and :func:`tar`, and by :func:`read_picture`.

Returns:
  The set, source, batches, arrays or notes.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit._quantisation import dequantise, from_unit, to_unit
    from scorekit.data import events, midi, phrases, soundfont, synthesis, tfds
    from scorekit.data._pictures import read_picture
    from scorekit.data.arrays import ImageSet, load, open_images
    from scorekit.data.augmentation import EDM_LABELS, edm_augment, random_crop, random_flip
    from scorekit.data.captions import CaptionEncoder, EncodedCaptions, encode_captions, load_caption_encoder
    from scorekit.data.clips import recordings
    from scorekit.data.folders import folder
    from scorekit.data.prefetching import Prefetch, prefetch
    from scorekit.data.streams import Source, Stream, batch_at, local_rows, stream
    from scorekit.data.tars import tar

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "EDM_LABELS",
    "CaptionEncoder",
    "EncodedCaptions",
    "ImageSet",
    "Prefetch",
    "Source",
    "Stream",
    "batch_at",
    "dequantise",
    "edm_augment",
    "encode_captions",
    "events",
    "folder",
    "from_unit",
    "load",
    "load_caption_encoder",
    "local_rows",
    "midi",
    "open_images",
    "phrases",
    "prefetch",
    "random_crop",
    "random_flip",
    "read_picture",
    "recordings",
    "soundfont",
    "stream",
    "synthesis",
    "tar",
    "tfds",
    "to_unit",
]

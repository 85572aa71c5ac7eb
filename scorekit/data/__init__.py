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
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit._quantisation import dequantise as dequantise
    from scorekit._quantisation import from_unit as from_unit
    from scorekit._quantisation import to_unit as to_unit
    from scorekit.data import events as events
    from scorekit.data import midi as midi
    from scorekit.data import phrases as phrases
    from scorekit.data import soundfont as soundfont
    from scorekit.data import synthesis as synthesis
    from scorekit.data import tfds as tfds
    from scorekit.data._pictures import read_picture as read_picture
    from scorekit.data.arrays import ImageSet as ImageSet
    from scorekit.data.arrays import load as load
    from scorekit.data.arrays import open_images as open_images
    from scorekit.data.augmentation import EDM_LABELS as EDM_LABELS
    from scorekit.data.augmentation import edm_augment as edm_augment
    from scorekit.data.augmentation import random_crop as random_crop
    from scorekit.data.augmentation import random_flip as random_flip
    from scorekit.data.captions import CaptionEncoder as CaptionEncoder
    from scorekit.data.captions import EncodedCaptions as EncodedCaptions
    from scorekit.data.captions import encode_captions as encode_captions
    from scorekit.data.captions import load_caption_encoder as load_caption_encoder
    from scorekit.data.clips import recordings as recordings
    from scorekit.data.folders import folder as folder
    from scorekit.data.prefetching import Prefetch as Prefetch
    from scorekit.data.prefetching import prefetch as prefetch
    from scorekit.data.streams import Source as Source
    from scorekit.data.streams import Stream as Stream
    from scorekit.data.streams import batch_at as batch_at
    from scorekit.data.streams import local_rows as local_rows
    from scorekit.data.streams import stream as stream
    from scorekit.data.tars import tar as tar

__getattr__, __dir__ = attach(__name__)

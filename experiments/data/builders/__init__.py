"""TensorFlow Datasets builders of the sets that scorekit makes: digits, notes, phrases and captioned emoji.

=====================  ==================================================================================
name                   what it holds, and from where
=====================  ==================================================================================
``sklearn_digits``     handwritten digits, in the copy of scikit-learn
``soundfont_notes``    notes of 112 instruments, rendered from the SoundFont of pretty_midi
``soundfont_phrases``  polyphonic phrases with their piano rolls, rendered from the same SoundFont
``captioned_emoji``    images in two styles of drawing with captions, from archives of the npm registry
=====================  ==================================================================================

:func:`register` makes their names known to :func:`scorekit.data.load` and :func:`scorekit.data.open_images`.
"""

import difflib
import importlib
import re

DATA_DIR = "~/tensorflow_datasets"
"""The folder of TFDS, where no other is named."""
OURS = {
    "captioned_emoji": "emoji",
    "sklearn_digits": "digits",
    "soundfont_notes": "soundfont",
    "soundfont_phrases": "soundfont",
}
"""The modules that register the sets when they are imported."""


def register(name: str) -> None:
    """Registers the builder of a set, so that TensorFlow Datasets knows its name; other sets need none.

    A misspelt name registers the set that it resembles, which the error of TFDS then suggests.

    >>> import tensorflow_datasets as tfds
    >>> register("sklearn_digits")
    >>> tfds.builder_cls("sklearn_digits").name
    'sklearn_digits'
    """
    for near in difflib.get_close_matches(re.split("[/:]", name)[0], OURS, cutoff=0.8):
        importlib.import_module(f"{__name__}.{OURS[near]}")

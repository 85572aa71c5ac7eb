"""TensorFlow Datasets builders of the sets that scorekit makes: digits, notes, phrases and captioned emoji.

=====================  ==================================================================================
name                   what it holds, and from where
=====================  ==================================================================================
``sklearn_digits``     handwritten digits, in the copy of scikit-learn
``soundfont_notes``    notes of 112 instruments, rendered from the SoundFont of pretty_midi
``soundfont_phrases``  polyphonic phrases with their piano rolls, rendered from the same SoundFont
``captioned_emoji``    pictures in two styles of drawing with captions, from archives of the npm registry
=====================  ==================================================================================

:func:`register` makes their names known to :func:`scorekit.data.load` and :func:`scorekit.data.open_images`.
"""

from experiments.data.builders.archives import Archive, MissingArchives

__all__ = ["OURS", "Archive", "MissingArchives", "register"]
OURS = ("captioned_emoji", "sklearn_digits", "soundfont_notes", "soundfont_phrases")


def register() -> None:
    """Registers the builders, so that TensorFlow Datasets knows their names.

    >>> import tensorflow_datasets as tfds
    >>> register()
    >>> tfds.builder_cls("sklearn_digits").name
    'sklearn_digits'
    """
    from experiments.data.builders import digits, emoji, notes, phrases  # noqa: F401  (registered by the import)

"""Captioned pictures from TensorFlow Datasets in memory, without TensorFlow."""

import dataclasses
import os
from typing import Any, cast

import numpy as np

from scorekit.data._tfds import builder_of, prepare, read_split

__all__ = ["CaptionedSet", "load_captioned"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CaptionedSet:
    """Pictures with captions in memory.

    Attributes:
      x: the pictures ``(N, H, W, C)``, uint8.
      captions: several texts of each picture.
      names: subject of each picture, in words.
      style: indices into ``styles``, ``(N,)``, int32.
      styles: the names of the styles of drawing, which are words of the captions.
      label: indices into ``classes``, ``(N,)``, int32.
      classes: the names of the groups.
      credit: whose the pictures are and under which licences: to be named where they, or samples that repeat them, are
        shown.

    >>> zero = np.zeros(1, np.int32)
    >>> found = CaptionedSet(x=np.zeros((1, 64, 64, 3), np.uint8), captions=(("red heart, noto style",),),
    ...                      names=("red heart",), style=zero, styles=("noto",), label=zero, classes=("Symbols",))
    >>> found.captions[0][0], found.classes[found.label[0]]
    ('red heart, noto style', 'Symbols')
    """

    x: np.ndarray
    captions: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    style: np.ndarray
    styles: tuple[str, ...]
    label: np.ndarray
    classes: tuple[str, ...]
    credit: str = ""


def load_captioned(name: str, split: str, data_dir: str | os.PathLike | None = None) -> CaptionedSet:
    """Reads a split of ``captioned_emoji`` into memory, preparing the set on first use from archives of pictures.

    ``test`` holds combinations of concepts that ``train`` never has together, see ``docs/data.md``.

    Args:
      name: a TFDS name of a set with the features of ``captioned_emoji``.
      split: a TFDS split, such as ``"train"``, ``"test"`` or ``"train[:10%]"``.
      data_dir: directory of prepared sets; ``None`` is the default of TFDS.

    Returns:
      The pictures, in TFDS's fixed order.

    Raises:
      MissingArchives: a ValueError that names the archives of ``captioned_emoji`` (136 MB), the commands that fetch
        them and where to put them (:mod:`scorekit.data.builders`).
      ValueError: for a set without captioned images.

    >>> load_captioned("sklearn_digits", "train")
    Traceback (most recent call last):
    ValueError: name must be a set with the features ['captions', 'image', 'label', 'name', 'style']; \
'sklearn_digits' lacks ['captions', 'name', 'style']
    """
    builder = builder_of(name, data_dir)
    features: dict[str, Any] = dict(cast(Any, builder.info.features).items())
    required = ["captions", "image", "label", "name", "style"]
    missing = [feature for feature in required if feature not in features]
    if missing:
        raise ValueError(f"name must be a set with the features {required}; {name!r} lacks {missing}")
    examples = read_split(prepare(builder, name, data_dir), split)
    text = lambda value: value.decode() if isinstance(value, bytes) else str(value)
    return CaptionedSet(
        x=np.stack([example["image"] for example in examples]),
        captions=tuple(tuple(map(text, example["captions"])) for example in examples),
        names=tuple(text(example["name"]) for example in examples),
        style=np.asarray([example["style"] for example in examples], np.int32),
        styles=tuple(features["style"].names),
        label=np.asarray([example["label"] for example in examples], np.int32),
        classes=tuple(features["label"].names),
        credit=builder.info.redistribution_info.license,
    )

"""The captioned pictures of ``captioned_emoji`` in memory."""

import dataclasses
import os
from typing import Any, cast

import numpy as np

from experiments.data.builders import register
from scorekit.data import tfds


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CaptionedSet:
    """Pictures with captions in memory.

    Attributes:
      captions: several texts of each picture.
      names: subject of each picture, in words.
      style: indices into ``styles``, ``(N,)``, int32.
      styles: the names of the styles of drawing, which are words of the captions.
      label: indices into ``classes``, ``(N,)``, int32.
      classes: the names of the groups.
      credit: owners and licences of the pictures: to be named where they, or samples that repeat them, are shown.
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

    ``test`` holds combinations of concepts that ``train`` never has together, see ``docs/data.md``. The pictures are in
    TFDS's fixed order.

    Raises:
      ValueError: for a set without captioned images, or, caused by :class:`MissingArchives`, where the archives of
        ``captioned_emoji`` (136 MB) are not there.

    >>> load_captioned("sklearn_digits", "train")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: name must be a set with the features ['captions', ...]; 'sklearn_digits' lacks ['captions', ...]
    """
    register(name)
    builder = tfds.builder_of(name, data_dir)
    features: dict[str, Any] = dict(cast(Any, builder.info.features).items())
    required = ["captions", "image", "label", "name", "style"]
    missing = [feature for feature in required if feature not in features]
    if missing:
        raise ValueError(f"name must be a set with the features {required}; {name!r} lacks {missing}")
    examples = tfds.read_split(tfds.prepare(builder, name, data_dir), split)
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

"""Labelled and captioned image sets from TensorFlow Datasets, in memory or on disk, without TensorFlow.

Args:
  name: a TFDS name with the features ``image`` (fixed shape, uint8) and ``label``: ``"sklearn_digits"``,
    ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, ``"svhn_cropped"``, ...; for captions the features of
    ``captioned_emoji``.
  x: the images ``(N, H, W, C)``, uint8.
  label: the classes ``(N,)``, int32.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     images = load("sklearn_digits", "train[:50%]", folder)
...     source = open_images("sklearn_digits", "train[:50%]", folder)
...     example = source[0]
>>> isinstance(images, ImageSet), images.x.shape, images.x.dtype, images.bins
(True, (750, 8, 8, 1), dtype('uint8'), 17)
>>> len(source), source.shape, source.bins, example["x"].dtype
(750, (8, 8, 1), 17, dtype('uint8'))
>>> zero = np.zeros(1, np.int32)
>>> found = CaptionedSet(x=np.zeros((1, 64, 64, 3), np.uint8), captions=(("red heart, noto style",),), style=zero,
...                      names=("red heart",), styles=("noto",), label=zero, classes=("Symbols",))
>>> found.captions[0][0], found.classes[found.label[0]]
('red heart, noto style', 'Symbols')
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from scorekit.data._tfds import builder_of, open_split, prepare, read_examples, read_split, unusable
from scorekit.data._tfds.contexts import quiet_tfds

__all__ = ["CaptionedSet", "ImageSet", "load", "load_captioned", "open_images"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Labelled images in memory.

    Attributes:
      num_classes: the number of classes.
      bins: number of values that a pixel can take: 256, or 17 for ``sklearn_digits``.
      name: the TFDS name.
    """

    x: np.ndarray
    label: np.ndarray
    num_classes: int
    bins: int
    name: str


def load(name: str, split: str, data_dir: str | os.PathLike | None = None) -> ImageSet:
    """Reads one split of a TFDS image set into memory, preparing the set on first use.

    The set is written as array_record files under ``data_dir``, without progress bars or log lines; an interrupted
    preparation is not mistaken for a complete one later. ``sklearn_digits`` needs no download; TFDS downloads
    ``mnist``, ``fashion_mnist``, ``cifar10`` and ``svhn_cropped`` from their publishers. The images are in TFDS's fixed
    order.
    """
    builder = builder_of(name, data_dir)
    num_classes = _check_features(name, builder.info.features)
    builder = prepare(builder, name, data_dir)
    examples = read_split(builder, split)
    return ImageSet(
        x=np.stack([example["image"] for example in examples]),
        label=np.asarray([example["label"] for example in examples], np.int32),
        num_classes=num_classes,
        bins=(builder.info.metadata or {}).get("levels", 256),
        name=builder.name,
    )


class _TfdsImages:
    """A split of a TFDS image set on disk; see :func:`open_images`."""

    def __init__(self, builder, split: str, num_classes: int):
        self.name, self.num_classes = builder.name, num_classes
        self.classes: tuple[str, ...] = tuple(builder.info.features["label"].names)
        self.bins = (builder.info.metadata or {}).get("levels", 256)
        self.shape: tuple[int, int, int] = builder.info.features["image"].shape
        self._source, self._unusable = open_split(builder, split), unusable(builder)
        with quiet_tfds():  # the first example loads the decoder
            self[0]

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several examples, which is several times faster than one by one."""
        examples = read_examples(self._source, indices, self._unusable)
        return [{"x": example["image"], "label": np.int32(example["label"])} for example in examples]


def open_images(name: str, split: str, data_dir: str | os.PathLike | None = None) -> _TfdsImages:
    """Opens one split of a TFDS image set for reading example by example, preparing the set on first use.

    The result is a source for :func:`scorekit.data.stream`, ``source[i]`` ``{"x": uint8 (H, W, C), "label": int32}`` in
    TFDS's fixed order, with ``name``, ``num_classes``, ``classes`` (their names), ``bins`` and ``shape``.
    """
    builder = builder_of(name, data_dir)
    num_classes = _check_features(name, builder.info.features)
    return _TfdsImages(prepare(builder, name, data_dir), split, num_classes)


def _check_features(name: str, features) -> int:
    """Checks that a set holds labelled uint8 images of one shape; returns the number of classes."""
    named = dict(features.items())
    image, label = named.get("image"), named.get("label")
    shape = getattr(image, "shape", ())
    if len(shape) != 3 or None in shape or getattr(image, "np_dtype", None) != np.uint8:
        raise ValueError(
            f"name must be a set with the feature 'image', uint8 (H, W, C) of one shape; {name!r} has {features}"
        )
    num_classes = getattr(label, "num_classes", None)
    if num_classes is None:
        raise ValueError(f"name must be a set with the class feature 'label'; {name!r} has {features}")
    return num_classes


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
      MissingArchives: a ValueError that names the archives of ``captioned_emoji`` (136 MB), the commands that fetch
        them and where to put them (:mod:`scorekit.data.builders`).
      ValueError: for a set without captioned images.

    >>> load_captioned("sklearn_digits", "train")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: name must be a set with the features ['captions', ...]; 'sklearn_digits' lacks ['captions', ...]
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

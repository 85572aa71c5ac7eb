"""Labelled image sets from TensorFlow Datasets, in memory or on disk, without TensorFlow.

>>> images = ImageSet(x=np.zeros((2, 28, 28, 1), np.uint8), label=np.array([3, 1], np.int32), num_classes=10,
...                   bins=256, name="mnist")
>>> images.x[images.label == 3].shape
(1, 28, 28, 1)
>>> load("mnits", "train")  # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: name must be a TFDS data set, got 'mnits'; did you mean mnist...
>>> open_images("mnits", "train")  # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: name must be a TFDS data set, got 'mnits'; did you mean mnist...
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from scorekit.data._tfds import builder_of, open_split, prepare, read_examples, read_split, unusable
from scorekit.data._tfds.contexts import quiet_tfds


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Labelled images in memory.

    Attributes:
      x: the images ``(N, H, W, C)``, uint8.
      label: the classes ``(N,)``, int32.
      num_classes: the number of classes.
      bins: number of values that a pixel can take: 256, or the ``levels`` in the metadata of the set.
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
    preparation is not mistaken for a complete one later. TFDS downloads ``mnist``, ``fashion_mnist``, ``cifar10`` and
    ``svhn_cropped`` from their publishers. The images are in TFDS's fixed order.

    Args:
      name: a TFDS name with the features ``image`` (fixed shape, uint8) and ``label``, such as ``"cifar10"``.
      split: a TFDS split, such as ``"train"``, ``"test"``, ``"train[:80%]"`` or ``"train+test"``.
      data_dir: directory of prepared sets, created if missing; None: the default of TFDS.
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

    Args:
      name: a TFDS name with the features ``image`` (fixed shape, uint8) and ``label``, such as ``"cifar10"``.
      split: a TFDS split, such as ``"train"``, ``"test"``, ``"train[:80%]"`` or ``"train+test"``.
      data_dir: directory of prepared sets, created if missing; None: the default of TFDS.
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

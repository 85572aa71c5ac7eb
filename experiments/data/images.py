"""Images as uint8, in memory or read from disk as they are needed.

Args:
  factor: side of the squares.
"""

import contextlib
import functools
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np

from experiments.cli.config import require
from experiments.cli.fields import Text
from experiments.data import transforms
from experiments.data.builders import DATA_DIR, register
from experiments.data.captions import POOLED, TOKENS, Captions, lists, subjects
from experiments.data.conditions import EMBEDDING
from experiments.data.dataset import Batch, divided, evenly, rows_of
from experiments.data.display import FrequencyAxis, Pictures, Scorer
from experiments.data.finite import keep_not_finite, zero_not_finite
from experiments.data.sources import Part, Streaming, open_splits, read_rows, reading
from scorekit import data, metrics
from scorekit.arguments import Count, OneOf, PositiveInt
from scorekit.guidance import operators

IN_MEMORY = 4 * 2**30
"""Bytes: training images of more are streamed by default. Fixed, so that a run is the same on any machine."""
_SAMPLE, _SAMPLE_BYTES = 5000, 2**28
_HELD_OUT, _LEAST = 2000, 8
"""Most images that are held out where there is no folder of them, and fewest of a set: metrics compare an image with
its nearest neighbours."""
_LOOKED_AT = 1000
"""Images whose sizes are read."""
_NAME = re.compile(r"\w+(:\w+)?(/\w[\w.+-]*)*(:[\d.*]+)?", re.ASCII)
"""``[namespace:]name[/config][:version]``, as TFDS writes names; never a path."""
_DISTANCES = (
    "Precision, recall, density and coverage compare pixels with the training images (k = 3 and 5), energy distance "
    "with the test images; for the real data it is the one between training and test images. Coverage grows with "
    "the number of images: rows of other numbers cannot be compared."
)


def average_pool(factor: PositiveInt = 2):
    """A dense map: the means over squares of ``factor`` pixels, a low-resolution copy."""
    pool = operators.average_pool(factor)
    return lambda batch: pool(batch["x"])


def pixelated(factor: PositiveInt = 2):
    """A dense map: the means over squares of ``factor`` pixels, repeated to the size of the image."""
    pool = operators.average_pool(factor)
    return lambda batch: pool(batch["x"]).repeat(factor, axis=1).repeat(factor, axis=2)


@dataclass(kw_only=True, eq=False)
class ImageSet(Streaming):
    """Images; samples are rounded to the values of the data.

    A set that streams has samples of at most 5,000 images or 256 MiB as ``train`` and ``test``.

    Args:
      label: "class", or "none" for a network without classes.
      image_size: side of the images: a folder's middle squares are resized to it, others, which must be square, are
        averaged down to it; None is as they are.
      image_crop: side of random squares to train on, for stages of a cascade; None is the full image.
      streaming: whether images are read from disk as they are needed; None streams sets of more than 4 GiB.
      augment: "flip", "crop", or "edm", which also needs ``conditions.vector.name=augmentation``; None is none.
      train_split: part to train on: a split of TFDS, or a subfolder of ``path``.
      test_split: part to measure on, likewise.
    """

    maps = ("average_pool", "pixelated")
    vectors = ("moments", transforms.AUGMENTATION, POOLED, EMBEDDING)
    tokens = (TOKENS,)
    min_samples = 4  # precision and recall: three nearest neighbours
    from_fields = (transforms.AUGMENTATION, POOLED, TOKENS, EMBEDDING)
    unit = "images"
    styles = tuple[str, ...]()

    label: Annotated[str, OneOf("class", "none")] = "class"
    image_size: Annotated[int, Count(1, 2**16)] | None = None
    image_crop: Annotated[int, Count(1, 2**16)] | None = None
    streaming: bool | None = None
    augment: Annotated[str, OneOf("flip", "crop", "edm")] | None = None
    train_split: Annotated[str, Text("a split or folder")] = "train"
    test_split: Annotated[str, Text("a split or folder")] = "test"
    captions: Any = None

    def open(self) -> tuple[Any, Any]:
        """The sources of the training and the test images."""
        raise NotImplementedError

    def __post_init__(self):
        self.sources = train, test = self.open()
        crop, sides = self.image_crop, f"{train.shape[0]} x {train.shape[1]}"
        allowed = f"at most the side of the images, {sides} here"
        require(crop is None or crop <= min(train.shape[:2]), "data.image_crop", crop, allowed)
        same = train.shape == test.shape
        require(same, "data.test_split", self.test_split, f"a split of images {train.shape}, as in training")
        size = math.prod(train.shape)
        self.streaming = len(train) * size > IN_MEMORY if self.streaming is None else self.streaming
        allowed = "False with captions, which are in memory"
        require(not (self.streaming and self.captions), "data.streaming", self.streaming, allowed)
        self._sample = min(_SAMPLE, max(1, _SAMPLE_BYTES // size))
        self.name, self.bins, self.labelled = train.name, train.bins, self.label != "none"
        self.shape = train.shape if crop is None else (crop, crop, train.shape[-1])
        self.num_classes = max(train.num_classes, test.num_classes) if self.labelled else 1
        named = self.labelled and len(train.classes) == self.num_classes
        self.class_names = train.classes if named else ()

    @functools.cached_property
    def _in_memory(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rows of both sets, or a sample of them, with captions and subjects where there are any."""
        count = lambda source: self._sample if self.streaming else len(source)
        with reading():
            train, test = (self._read(part, evenly(len(part), count(part))) for part in self.sources)
        unseen = np.setdiff1d(np.arange(self.num_classes), train["label"])
        if len(unseen) and not self.streaming:
            few = ", ".join(self.named(unseen[:3]))
            warnings.warn(
                f"config.data.label=class: no image to train with for {len(unseen)} of {self.num_classes} classes "
                f"({few}{', …' * (len(unseen) > 3)}); add some, or config.data.label=none trains without classes",
                stacklevel=2,
            )
        return train, test

    @functools.cached_property
    def texts(self) -> tuple[list[list[str]], list[list[str]]] | None:
        """The captions of each training and each test picture."""
        train, test = (part.get("caption") for part in self._in_memory)
        return None if train is None or test is None else (lists(train), lists(test))

    @functools.cached_property
    def _captions(self) -> Captions | None:
        """The captions of both sets, encoded, where they are a condition."""
        if self.captions is None:
            return None
        return self.captions.of_sets([part.get("caption") for part in self._in_memory], self.name)

    @functools.cached_property
    def _rows(self) -> tuple[Batch, Batch]:
        """The fields of both sets before they are cropped."""
        parts = [{name: part[name] for name in ("x", "label")} for part in self._in_memory]
        if self._captions is not None and self.texts is not None:
            named = subjects(self.texts, [part.get("subject") for part in self._in_memory])
            for part, texts, subject in zip(parts, self.texts, named, strict=True):
                part |= {"subject": subject, "captions": self._captions.rows_of(texts)}
        return parts[0], parts[1]

    def read(self, part):
        """The images, or a sample of them, with the first caption of each, and of each the middle square."""
        rows = self._rows[part]
        if self._captions is not None:
            rest = {name: value for name, value in rows.items() if name != "captions"}
            rows = {**rest, **self._captions.fields(rows["captions"][:, 0])}
        return transforms.centred(rows, self.image_crop)

    def _read(self, source: Any, rows: np.ndarray) -> dict[str, Any]:
        """These rows in memory."""
        part = read_rows(source, rows, self.workers, self.on_error, "images")
        return part if self.labelled else {**part, "label": np.zeros_like(part["label"])}

    def in_order(self, size: int) -> Iterator[Batch]:
        """All training images in their order, in blocks of at most ``size``."""
        for start in range(0, self.examples, size):
            rows = np.arange(start, min(start + size, self.examples))
            yield self._read(self.sources[0], rows) if self.streaming else rows_of(self.train, rows)

    def add(self, name: str, train: np.ndarray, test: np.ndarray) -> None:
        """Adds a field to all examples in memory, ``(N, ...)`` each."""
        for part, values in zip(self._rows, (train, test), strict=True):
            part[name] = values
        for cached in ("train", "test"):
            self.__dict__.pop(cached, None)

    def stored(self):
        return self._rows[0]

    def streamed_example(self, example):
        return {"x": example["x"], "label": example["label"] if self.labelled else np.int32(0)}

    def finished(self, part, seed, step, first_row):
        assert self.bins is not None
        at = {"seed": seed, "step": step, "first_row": first_row}
        part = transforms.cropped(part, self.image_crop, **at)
        if self._captions is not None:
            part = self._captions.drawn(part, **at)
        return transforms.augmented(self.augment, part, self.bins, **at)

    def to_model(self, x):
        assert self.bins is not None
        return data.to_unit(x, self.bins)

    def from_model(self, x, conditions=None):
        assert self.bins is not None
        return keep_not_finite(data.to_unit(data.from_unit(zero_not_finite(x), self.bins), self.bins), x)

    def as_batch(self, samples):
        return {"x": np.asarray(samples)}

    def view(self, samples):
        return Pictures(samples)

    def state_view(self, states):
        return Pictures(states)

    def frequency_axis(self):
        return FrequencyAxis("cycles per pixel", "cycles/pixel")

    def scorer(self):
        """A reference classifier fitted to real training images, and distances in pixel space.

        Where all images are of one class there is no classifier.
        """
        train, test = (self.real(part) for part in (self.train, self.test))
        real, held_out = _flat(train)[:5000], _flat(test)[:5000]

        @jax.jit  # the real data are arguments: as constants XLA would compute with them while compiling
        def compare(x, real, held_out):
            precision, recall = metrics.precision_recall(real, x)
            density, coverage = metrics.density_coverage(real, x)
            return precision, recall, density, coverage, metrics.energy_distance(held_out, x)

        def distances(x, labels=None) -> dict[str, float]:
            del labels
            names = ("precision", "recall", "density", "coverage", "energy distance")
            return dict(zip(names, map(float, compare(_flat(x)[:5000], real, held_out)), strict=True))

        baseline = {**distances(test), "energy distance": float(jax.jit(metrics.energy_distance)(held_out, real))}
        if len(np.unique(self.train["label"])) == 1:
            return Scorer(real=baseline, samples=distances, caption=_DISTANCES)
        classifier = metrics.fit_reference_classifier(train, self.train["label"])

        def samples(x, labels):
            score = metrics.classification_accuracy_score(x, labels, test, self.test["label"])
            accuracy = metrics.class_accuracy(classifier, x, labels)
            return {"class accuracy": accuracy, "classification accuracy score": score, **distances(x)}

        accuracy = metrics.class_accuracy(classifier, test, self.test["label"])
        return Scorer(
            real={"class accuracy": accuracy, "classification accuracy score": accuracy, **baseline},
            samples=samples,
            caption=(
                "Class accuracy: of a support vector machine, fitted to real training images, on the samples. "
                f"Classification accuracy score: of one fitted to the samples, on the real test images. {_DISTANCES}"
            ),
        )


@dataclass(kw_only=True, eq=False)
class Images(ImageSet):
    """A set of images of TensorFlow Datasets.

    Args:
      set: its TFDS name.
      data_dir: folder of TFDS.
    """

    set: Annotated[str, Text("the TFDS name of a set of images")] = "sklearn_digits"
    data_dir: Annotated[str, Text("a folder")] = DATA_DIR

    def open(self):
        allowed = "the name of a data set, such as sklearn_digits; never a path"
        require(_NAME.fullmatch(self.set) is not None, "data.set", self.set, allowed)
        register(self.set)
        with reading():
            sources = [
                data.open_images(self.set, split, self.data_dir) for split in (self.train_split, self.test_split)
            ]
            return tuple(transforms.Resized(source, self.image_size) for source in sources)


@dataclass(kw_only=True, eq=False)
class Folder(ImageSet):
    """Images in a folder, or in a subfolder for each class.

    Folders ``path/train`` and ``path/test`` (``train_split``, ``test_split``) are the two sets. Where there are none, a
    tenth of the images, from 8 to 2,000, evenly spaced in their order, is the test set.

    Args:
      path: the folder.
      image_mode: "RGB" or "L" (grey) to convert every image to; None is for images of one mode.
    """

    path: Annotated[str, Text("a folder, tar file or pattern")]
    image_mode: Annotated[Literal["RGB", "L"], OneOf("RGB", "L")] | None = None
    opener = staticmethod(data.folder)

    def open(self):
        root = Path(self.path).expanduser()
        opened = lambda path: self.opener(path, size=self.image_size, mode=self.image_mode)
        with reading(self.path):
            splits, rows = open_splits(root, self.train_split, self.test_split, opened), (None, None)
            if splits is None:
                splits = 2 * (opened(root),)
                rows = divided(len(splits[0]), max(_LEAST, min(len(splits[0]) // 10, _HELD_OUT)))
            train, test = (Part(*part, name=root.name or str(root)) for part in zip(splits, rows, strict=True))
            if min(len(train), len(test)) < _LEAST:
                raise ValueError(
                    f"there must be at least {_LEAST} images to train with and {_LEAST} to test with, "
                    f"there are {len(train)} and {len(test)}"
                )
        if self.image_mode:
            self._warn_of_blanks(train)
        return train, test

    def _warn_of_blanks(self, images: Part) -> None:
        """Warns of images of one colour, as white shapes on transparent pixels become, among a hundred of them."""
        rows, blank = evenly(len(images), 100), 0
        for row in rows:
            with contextlib.suppress(ValueError):  # damaged images are reported, with their number, when they are read
                blank += int(np.ptp(images[row]["x"]) == 0)
        if blank:
            warnings.warn(
                f"config.data.path={self.path}: {blank} of {len(rows)} images have one value only; the pixels behind "
                "transparent ones become white, which hides white shapes",
                stacklevel=2,
            )

    def common(self) -> tuple[int, str]:
        """The side in pixels that 95 % of the images have in their files, and the mode, of up to 1,000 of them.

        The mode is "L" if all are grey, else "RGB".
        """
        headers = self.sources[0].headers(_LOOKED_AT)
        require(bool(headers), "data.path", self.path, "a folder of images that can be read")
        sides = [min(width, height) for width, height, _ in headers]
        side = int(np.percentile(sides, 5, method="lower"))
        require(side >= 8, "data.path", self.path, f"a folder of images of at least 8 pixels a side, many have {side}")
        grey = all(mode in ("1", "L", "LA") for _, _, mode in headers)
        return side, "L" if grey else "RGB"


@dataclass(kw_only=True, eq=False)
class Tar(Folder):
    """Images in tar files in the layout of WebDataset: ``path`` is a folder of them, one file, or a pattern."""

    opener = staticmethod(data.tar)


def _flat(x) -> np.ndarray:
    return np.asarray(x, np.float32).reshape(len(x), -1)

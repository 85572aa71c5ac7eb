"""Images as uint8, in memory or read from disk as they are needed.

Args:
  factor: side of the squares.
"""

import concurrent.futures
import contextlib
import functools
import itertools
import math
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np

from experiments.cli.config import ConfigError, require
from experiments.cli.fields import Text
from experiments.data import transforms
from experiments.data.builders import DATA_DIR, register
from experiments.data.captions import POOLED, TOKENS, Captions, lists, subjects
from experiments.data.dataset import Batch, Dataset, evenly, keep_not_finite, rows_of, zero_not_finite
from experiments.data.display import FrequencyAxis, Pictures, Scorer
from experiments.data.embeddings import EMBEDDING
from scorekit import data, metrics
from scorekit.arguments import Count, OneOf, PositiveInt
from scorekit.guidance import operators

IN_MEMORY = 4 * 2**30
"""Bytes: training images of more are streamed by default. Fixed, so that a run is the same on any machine."""
_SAMPLE, _SAMPLE_BYTES = 5000, 2**28
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
class ImageSet(Dataset):
    """Images; samples are rounded to the values of the data.

    A set that streams has samples of at most 5,000 images or 256 MiB as ``train`` and ``test``.

    Args:
      label: "class", or "none" for a network without classes.
      image_size: side of the images: a folder's middle squares are resized to it, others, which must be square, are
        averaged down to it; None is as they are.
      image_crop: side of random squares to train on, for stages of a cascade; None is the full image.
      streaming: whether images are read from disk as they are needed; None streams sets of more than 4 GiB.
      workers: threads that read ahead.
      on_error: "raise" ends the run at an image that cannot be read, "skip" leaves it out.
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
    workers: Annotated[int, Count(0, 1024)] = 4
    on_error: Annotated[Literal["raise", "skip"], OneOf("raise", "skip")] = "raise"
    augment: Annotated[str, OneOf("flip", "crop", "edm")] | None = None
    train_split: Annotated[str, Text("a split or folder")] = "train"
    test_split: Annotated[str, Text("a split or folder")] = "test"
    captions: Any = None

    def open(self) -> tuple[Any, Any]:
        """The sources of the training and the test images."""
        raise NotImplementedError

    def __post_init__(self):
        self._train, self._test = train, test = self.open()
        transforms.check_crop(self.image_crop, train.shape)
        same = train.shape == test.shape
        require(same, "data.test_split", self.test_split, f"a split of images {train.shape}, as in training")
        size = math.prod(train.shape)
        self.streaming = len(train) * size > IN_MEMORY if self.streaming is None else self.streaming
        allowed = "False with captions, which are in memory"
        require(not (self.streaming and self.captions), "data.streaming", self.streaming, allowed)
        self._sample = min(_SAMPLE, max(1, _SAMPLE_BYTES // size))
        self.name, self.bins, self.labelled = train.name, train.bins, self.label != "none"
        side = self.image_crop
        self.shape = train.shape if side is None else (side, side, train.shape[-1])
        self.num_classes = max(train.num_classes, test.num_classes) if self.labelled else 1
        named = self.labelled and len(train.classes) == self.num_classes
        self.class_names = train.classes if named else ()
        self._added: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def examples(self) -> int:
        """The number of training images; read in memory, of those that can be read."""
        return len(self._train) if self.streaming or self.on_error == "raise" else len(self._in_memory[0]["x"])

    @functools.cached_property
    def _in_memory(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rows of both sets, or a sample of them, with captions and subjects where there are any."""
        count = lambda source: self._sample if self.streaming else len(source)
        with reading():
            train, test = (self._read(part, evenly(len(part), count(part))) for part in (self._train, self._test))
        return train, test

    @functools.cached_property
    def texts(self) -> tuple[list[list[str]], list[list[str]]] | None:
        """The captions of each training and each test picture."""
        train, test = (part.get("caption") for part in self._in_memory)
        return None if train is None or test is None else (lists(train), lists(test))

    @functools.cached_property
    def _captioned(self) -> tuple[Captions | None, Batch]:
        """The captions of the training pictures, and the fields of the first caption of each test picture."""
        if self.captions is None:
            return None, {}
        return self.captions.of_sets(*(part.get("caption") for part in self._in_memory), self.name)

    @functools.cached_property
    def _rows(self) -> tuple[Batch, Batch]:
        """The fields of both sets before they are cropped."""
        parts = [{name: part[name] for name in ("x", "label")} for part in self._in_memory]
        captions, of_test = self._captioned
        if captions is not None:
            named = [part.get("subject") for part in self._in_memory]
            for part, found in zip(parts, subjects(self.texts, named), strict=True):  # type: ignore[arg-type]
                part["subject"] = found
            parts[0]["captions"] = captions.of_pictures
            parts[1].update(of_test)
        for name, values in self._added.items():
            for part, value in zip(parts, values, strict=True):
                part[name] = value
        return parts[0], parts[1]

    @functools.cached_property
    def train(self) -> Batch:
        """The training images, or a sample of them."""
        part, captions = dict(self._rows[0]), self._captioned[0]
        if captions is not None:
            part |= captions.fields(part.pop("captions")[:, 0])
        return transforms.centred(part, self.image_crop)

    @functools.cached_property
    def test(self) -> Batch:
        """The test images, or a sample of them."""
        return transforms.centred(self._rows[1], self.image_crop)

    def _read(self, source: Any, rows: np.ndarray) -> dict[str, Any]:
        """These rows in memory."""
        return read_rows(source, rows, self.workers, self.on_error, "images", not self.labelled)

    def in_order(self, size: int) -> Iterator[Batch]:
        """All training images in their order, in blocks of at most ``size``."""
        for start in range(0, self.examples, size):
            rows = np.arange(start, min(start + size, self.examples))
            yield self._read(self._train, rows) if self.streaming else rows_of(self.train, rows)

    def held_out(self):
        return len(self._test)

    def add(self, name: str, train: np.ndarray, test: np.ndarray) -> None:
        """Adds a field to all examples in memory, ``(N, ...)`` each."""
        self._added[name] = (train, test)
        for cached in ("_rows", "train", "test"):
            self.__dict__.pop(cached, None)

    def batch(self, seed, step, size):
        with contextlib.closing(self._batches(seed, step, size, 0, 1, workers=0)) as batches:  # reads none ahead
            return next(batches)

    def batches(self, seed, first_step, size, process_index=0, process_count=1):
        return self._batches(seed, first_step, size, process_index, process_count, self.workers)

    def _batches(self, seed, first_step, size, process_index, process_count, workers):
        rows = data.local_rows(size, process_index, process_count)
        if not self.streaming:
            full = lambda step: data.batch_at(self._rows[0], seed=seed, step=step, batch_size=size)
            parts = (rows_of(full(step), rows) for step in itertools.count(first_step))
        else:
            parts = streamed(
                self._train,
                _without_text if self.labelled else _without_class,
                self.on_error,
                seed=seed,
                batch_size=size,
                start=first_step * size,
                process_index=process_index,
                process_count=process_count,
                workers=workers,
            )
        return self._augmented(parts, seed, first_step, rows.start)

    def _augmented(self, parts, seed, first_step, first_row):
        assert self.bins is not None
        with contextlib.closing(parts):
            for step, part in enumerate(parts, first_step):
                at = {"seed": seed, "step": step, "first_row": first_row}
                part = transforms.cropped(part, self.image_crop, **at)
                if self._captioned[0] is not None:
                    part = self._captioned[0].drawn(part, **at)
                yield transforms.augmented(self.augment, part, self.bins, **at)

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


class Arrays:
    """A source of images in memory, ``x`` (N, H, W, C) with classes ``label`` (N,)."""

    classes = ()

    def __init__(self, name: str, bins: int, x: np.ndarray, label: np.ndarray, num_classes: int):
        self.name, self.bins, self.num_classes, self.shape = name, bins, num_classes, x.shape[1:]
        self._x, self._label = x, label

    def __len__(self) -> int:
        return len(self._x)

    def __getitems__(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        return [{"x": self._x[row], "label": self._label[row]} for row in rows]


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


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Errors of images as a :class:`ConfigError`."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"config.data: {by_fields(str(error))}") from error


def read_rows(
    source: Any, rows: np.ndarray, workers: int, on_error: str, what: str, unlabelled: bool = False
) -> dict[str, Any]:
    """These rows of a source in memory; ``what`` they are, for a warning of those that cannot be read."""
    if hasattr(source, "__getitems__"):
        return _stacked(source.__getitems__(rows.tolist()), unlabelled)
    broken = []

    def read(row: int) -> Mapping[str, Any] | None:
        try:
            return source[row]
        except ValueError as error:
            if on_error == "raise":
                raise ValueError(f"{error}; config.data.on_error=skip leaves such {what} out") from error
            broken.append(str(error))
            return None

    with concurrent.futures.ThreadPoolExecutor(max(1, workers)) as pool:
        found = [example for example in pool.map(read, rows.tolist()) if example is not None]
    if broken:
        first = "; ".join(sorted(broken)[:3])
        warnings.warn(f"{len(broken)} {what} could not be read and were left out: {first}", stacklevel=2)
    if not found:
        raise ValueError(f"none of the {what} can be read: {min(broken)}")
    return _stacked(found, unlabelled)


def streamed(source: Any, transform: Callable, on_error: Any, **options: Any) -> Generator[Batch, None, None]:
    """The batches of a source; ``options`` are of :func:`scorekit.data.stream`."""
    with data.stream(source, transform=transform, on_error=on_error, **options) as batches:
        try:
            yield from batches
        except ValueError as error:
            why = by_fields(str(error))
            raise ConfigError(f"config.data: {why}; config.data.on_error=skip replaces such examples") from error


def by_fields(message: str) -> str:
    """A message about pictures with the fields of a config in the place of arguments."""
    message = message.replace("size= makes", "config.data.image_size=… makes")
    return re.sub("mode=('RGB')? (makes|converts)", r"config.data.image_mode=RGB \2", message)


def _flat(x) -> np.ndarray:
    return np.asarray(x, np.float32).reshape(len(x), -1)


def _without_text(example: Mapping[str, Any]) -> dict[str, Any]:
    return {name: example[name] for name in ("x", "label")}


def _without_class(example: Mapping[str, Any]) -> dict[str, Any]:
    return {"x": example["x"], "label": np.int32(0)}


def _stacked(examples: list[Mapping[str, Any]], unlabelled: bool) -> dict[str, Any]:
    label = np.array([0 if unlabelled else example["label"] for example in examples], np.int32)
    found: dict[str, Any] = {"x": np.stack([example["x"] for example in examples]), "label": label}
    texts = [field for field in ("caption", "subject") if field in examples[0]]
    return {**found, **{field: [example[field] for example in examples] for field in texts}}

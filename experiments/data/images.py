"""Images as uint8, in memory or read from disk as they are needed.

Args:
  factor: side of the squares.
"""

import concurrent.futures
import contextlib
import itertools
import math
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Literal

import jax
import numpy as np

from experiments.cli.config import Config, ConfigError, require
from experiments.data import captions, embeddings, transforms
from experiments.data.builders import register
from experiments.data.dataset import Batch, Dataset, evenly, keep_not_finite, rows_of, zero_not_finite
from experiments.data.display import FrequencyAxis, Pictures, Scorer
from scorekit import data, metrics
from scorekit.arguments import PositiveInt
from scorekit.guidance import operators

IN_MEMORY = 4 * 2**30
"""Bytes: training images of more are streamed by default. Fixed, so that a run is the same on any machine."""
_SAMPLE, _SAMPLE_BYTES, _WORKERS = 5000, 2**28, 4
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


class Images(Dataset):
    """A TFDS image set; samples are rounded to the values of the data.

    A set that streams has samples of at most 5,000 images or 256 MiB as ``train`` and ``test``.
    """

    maps = ("average_pool", "pixelated")
    vectors = ("moments", transforms.AUGMENTATION, captions.POOLED, embeddings.EMBEDDING)
    tokens = (captions.TOKENS,)
    min_samples = 4  # precision and recall: three nearest neighbours
    from_fields = (transforms.AUGMENTATION, captions.POOLED, captions.TOKENS, embeddings.EMBEDDING)
    unit = "images"
    image_fields = ("path", "image_mode")
    styles: tuple[str, ...] = ()
    texts: tuple[list[list[str]], list[list[str]]] | None = None
    """The captions of each training and each test picture."""
    _unlabelled: bool = False
    _augment: str | None = None
    _captions: captions.Captions | None = None
    _crop: int | None = None
    _held_out: int | None = None
    _rows: Batch
    _source: Any = None
    _workers = _WORKERS
    _on_error: Literal["raise", "skip"] = "raise"

    def __init__(self, config):
        options = config.data
        opened = lambda split: transforms.Resized(self.open(options, split), options.image_size)
        try:
            train = opened(options.train_split)
            self.fill_from(config, train.name, train.bins, train, opened(options.test_split))
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"config.data: {error}") from error

    def open(self, options: Config, split: str) -> Any:
        """A source of the images of a split."""
        register()
        return data.open_images(options.name, split, options.data_dir)

    def fill_from(self, config: Config, name: str, bins: int, train: Any, test: Any) -> None:
        """Sets everything from two sources of images."""
        options = config.data
        self._crop, self._unlabelled = options.image_crop, self.unlabelled(config)
        transforms.check_crop(options.image_crop, train.shape)
        self._workers = _WORKERS if options.workers is None else options.workers
        self._augment = None if options.augment == "none" else options.augment
        self._on_error = options.on_error or "raise"
        same = train.shape == test.shape
        require(same, "data.test_split", options.test_split, f"a split of images {train.shape}, as in training")
        size = math.prod(train.shape)
        self.streaming = len(train) * size > IN_MEMORY if options.streaming is None else options.streaming
        sample = min(_SAMPLE, max(1, _SAMPLE_BYTES // size))
        parts = [self._read(part, evenly(len(part), sample if self.streaming else len(part))) for part in (train, test)]
        texts, named = ([part.pop(field, None) for part in parts] for field in ("caption", "subject"))
        if captions.wanted(config):
            require(not self.streaming, "data.streaming", options.streaming, "False with captions, which are in memory")
            self._captions, of_test = captions.of_sets(config, *texts, name)  # type: ignore[misc]
            parts[1].update(of_test)
            for part, found in zip(parts, captions.subjects(texts, named), strict=True):
                part["subject"] = found
        self.fill(name, 1 if self._unlabelled else max(train.num_classes, test.num_classes), bins, *parts)
        named = not self._unlabelled and len(train.classes) == self.num_classes
        self.class_names = train.classes if named else ()
        if self.streaming:
            self._source, self.examples, self._held_out = train, len(train), len(test)
        if None not in texts:
            self.texts = (captions.lists(texts[0]), captions.lists(texts[1]))

    def _read(self, source: Any, rows: np.ndarray) -> dict[str, Any]:
        """These rows in memory."""
        return read_rows(source, rows, self._workers, self._on_error, "images", self._unlabelled)

    def in_order(self, size: int) -> Iterator[Batch]:
        """All training images in their order, in blocks of at most ``size``."""
        source, total = self._source, self.examples or 0
        for start in range(0, total, size):
            rows = np.arange(start, min(start + size, total))
            yield rows_of(self.train, rows) if source is None else self._read(source, rows)

    def fill(self, name, num_classes, bins, train, test):
        """Sets everything that a set of images has."""
        self.name, self.num_classes, self.bins, self.examples = name, num_classes, bins, len(train["x"])
        self._rows = train
        if self._captions is not None:
            self._rows = {**train, "captions": self._captions.of_pictures}
            train = {**train, **self._captions.fields(self._captions.of_pictures[:, 0])}
        self.train, self.test = (transforms.centred(part, self._crop) for part in (train, test))
        self.shape = self.train["x"].shape[1:]

    def held_out(self):
        return super().held_out() if self._held_out is None else self._held_out

    def add(self, name: str, train: np.ndarray, test: np.ndarray) -> None:
        """Adds a field to all examples in memory, ``(N, ...)`` each."""
        self._rows, self.train = {**self._rows, name: train}, {**self.train, name: train}
        self.test = {**self.test, name: test}

    @classmethod
    def spatial_axes(cls, config):
        return 0 if embeddings.are_examples(config) else 2

    @classmethod
    def check(cls, config):
        super().check(config)
        embeddings.check(config)
        options = config.data
        name, latents = options.augment or "none", options.get("latents")
        allowed = "none for latents, which are of the images as they are"
        require(name == "none" or not latents, "data.augment", name, allowed)
        require(options.image_crop is None or not latents, "data.image_crop", options.image_crop, allowed)
        captions.check(config)
        labelled = "vector" in options and options.vector.name == transforms.AUGMENTATION
        allowed = "edm with data.vector.name=augmentation, neither without the other"
        require((name == "edm") == labelled, "data.augment", name, allowed)

    def batch(self, seed, step, size):
        with contextlib.closing(self._batches(seed, step, size, 0, 1, workers=0)) as batches:  # reads none ahead
            return next(batches)

    def batches(self, seed, first_step, size, process_index=0, process_count=1):
        return self._batches(seed, first_step, size, process_index, process_count, self._workers)

    def _batches(self, seed, first_step, size, process_index, process_count, workers):
        rows = data.local_rows(size, process_index, process_count)
        if self._source is None:
            full = lambda step: data.batch_at(self._rows, seed=seed, step=step, batch_size=size)
            parts = (rows_of(full(step), rows) for step in itertools.count(first_step))
        else:
            transform = _without_class if self._unlabelled else _without_text
            parts = streamed(
                self._source,
                transform,
                self._on_error,
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
                part = transforms.cropped(part, self._crop, **at)
                if self._captions is not None:
                    part = self._captions.drawn(part, **at)
                yield transforms.augmented(self._augment, part, self.bins, **at)

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

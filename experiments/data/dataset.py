"""What every data set answers: its batches, what the network receives, how samples are shown and scored."""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import require
from experiments.cli.outputs import encodable
from experiments.data.display import FrequencyAxis, Preview, Scorer, View
from scorekit.data import local_rows
from scorekit.typing import Array, ArrayLike

_SAMPLES = 1500
Batch = dict[str, np.ndarray]
Conditions = Mapping[str, Any]
"""Conditions of a network by its names for them (``labels``, ``vector``, ``dense_map``, ``tokens``)."""


class OfField:
    """A condition that is a field of the batch, which samples do not have; a subclass says which."""

    from_samples = False
    field: str

    def __call__(self, batch: Mapping[str, Any]) -> Array:
        return jnp.asarray(batch[self.field], jnp.float32)


class Dataset:
    """A training set and a test set; a kind of data is a subclass, and a line in :mod:`experiments.data`.

    The keyword arguments of a kind are the fields of ``config.data``. It answers its shapes before its rows are read.

    Attributes:
      name: name for reports.
      unit: a word for its examples.
      shape: shape of one example as the network receives it.
      num_classes: number of classes; the null label is ``num_classes``.
      class_names: names of the classes by number; empty where they have none.
      examples: number of training examples, None when they are drawn anew for every step.
      bins: number of values of discrete data, None for continuous data.
      max_evaluated: most test examples that a loss or bound is measured on.
      max_held_out: most test examples of the held-out loss of a network or classifier.
      max_reconstructed: most test examples of the held-out loss of an autoencoder.
      evaluation_batch: number of examples that are evaluated at once.
      min_samples: fewest samples that its metrics can be computed on.
      maps: names of the dense maps that are computed from a batch (:mod:`experiments.data.conditions`).
      vectors: names of vectors, likewise.
      tokens: names of tokens, likewise.
      from_fields: names of the factories that read other fields of a batch than the example itself.
      labelled: whether a network of these data has classes; without, all examples are of class 0.
      only_symbols: whether the examples are for models of sequences alone.
      encoder: checksum of the weights that computed its embeddings, None without embeddings.
      credit: owners and licences of the data, for reports that show samples; empty if no licence requires it.
      entries: names of the entries of an example of a table; empty of other data.
      condition_entries: likewise, of the columns that are its condition.
      streaming: whether the training examples are read from disk as they are needed; ``train`` is a sample of them.
    """

    name: str
    unit: str = "examples"
    shape: tuple[int, ...]
    num_classes: int
    class_names: tuple[str, ...] = ()
    examples: int | None
    bins: int | None = None
    max_evaluated: int = 2000
    max_held_out: int = 1000
    max_reconstructed: int = 1000
    evaluation_batch: int = 500
    min_samples: int = 1
    maps: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ("moments",)
    tokens: tuple[str, ...] = ()
    from_fields: Collection[str] = ()
    labelled: bool = True
    only_symbols: bool = False
    encoder: str | None = None
    entries: tuple[str, ...] = ()
    condition_entries: tuple[str, ...] = ()
    credit: str = ""
    streaming: bool = False

    @property
    def axes(self) -> int:
        """The number of spatial axes of what the network receives: 0 of points, 1 of signals, 2 of images."""
        return len(self.shape) - 1

    def num_samples(self, given: int | None) -> int:
        """The number of samples that an evaluation draws, by default no more than there are training examples."""
        if given is None:
            return max(min(self.examples or _SAMPLES, _SAMPLES), self.min_samples)
        allowed = f"at least {self.min_samples} for the metrics of these data"
        require(given >= self.min_samples, "evaluation.num_samples", given, allowed)
        return given

    @functools.cached_property
    def train(self) -> Batch:
        """Training examples to compare with: all, or a sample of them."""
        return self.read(0)

    @functools.cached_property
    def test(self) -> Batch:
        """The test set, ``{"x": (N, ...), "label": (N,)}`` and further fields of the kind, or a sample of it."""
        return self.read(1)

    def read(self, part: int) -> Batch:
        """The examples of the training set (0) or the test set (1), which are read on first use."""
        raise NotImplementedError

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The batch of one step, a pure function of its arguments."""
        raise NotImplementedError

    def batches(
        self, seed: int, first_step: int, size: int, process_index: int = 0, process_count: int = 1
    ) -> Generator[Batch, None, None]:
        """The batches of the steps from ``first_step`` on, of each the rows that one process of several reads.

        Concatenated over the processes they are the batches of :meth:`batch`. Close the iterator to stop reading ahead.
        """
        rows = local_rows(size, process_index, process_count)
        return (rows_of(self.batch(seed, step, size), rows) for step in itertools.count(first_step))

    def to_model(self, x: ArrayLike) -> Array:
        """Raw examples as the floats that the network receives."""
        raise NotImplementedError

    def inputs(self, batch: Mapping[str, Any]) -> Array:
        """The examples of a batch as the network receives them; some representations include its fields."""
        return self.to_model(batch["x"])

    def from_model(self, x: Array, conditions: Conditions | None = None) -> Array:
        """Samples as data: floats at values that the data can take; sounds ``(B, L)`` at full scale 1.

        ``conditions`` are the network's; some representations of sounds need them. An example that is not finite before
        it is rounded or clipped is NaN (:func:`experiments.data.finite.keep_not_finite`).
        """
        raise NotImplementedError

    def decoded(self, part: Batch) -> np.ndarray:
        """Examples of this set, with the codes that they are conditioned on, as data."""
        rows = {name: part[name] for name in ("x", "given") if name in part}
        return in_blocks(jax.jit(lambda rows: self.from_model(rows["x"], rows)), rows, min(25, len(part["x"])))

    def real(self, part: Batch) -> np.ndarray:
        """The examples of ``part`` in the representation of samples."""
        return np.asarray(self.from_model(self.to_model(part["x"])))

    def as_batch(self, samples: np.ndarray) -> Batch | None:
        """Samples as a batch that conditions can be computed from; None if that is not possible."""
        del samples
        return None

    def view(self, samples: np.ndarray) -> View:
        """Samples as something to look at or to play."""
        raise NotImplementedError

    def state_view(self, states: np.ndarray) -> View | None:
        """States of the sampler ``(N, ...)`` to look at; None if they show nothing."""
        del states
        return None

    def check_conditions(self, chosen: Mapping[str, str]) -> None:
        """Validates that the network reads the condition of the data; only a table has one that must be read.

        Args:
          chosen: names in ``config.conditions`` by section, as ``{"vector": "columns"}``.
        """

    def preview(self) -> Preview:
        """What to draw for a picture: ten samples of each of up to ten classes."""
        classes = min(self.num_classes, 10)
        return Preview(np.repeat(np.arange(classes), 10), self.named(range(classes)))

    def guidance_labels(self) -> np.ndarray | None:
        """Labels of a picture that compares guidance scales; None for no such picture."""
        return np.arange(min(self.num_classes, 10))

    def scorer(self) -> Scorer | None:
        """Metrics of samples; None where a program of its own measures them."""
        return None

    def exact_bits(self) -> float | None:
        """The exact entropy of a class in bits per dimension, where it is known."""
        return None

    def bits_per_value(self) -> float:
        """The bits that one stored value takes."""
        return math.log2(self.bins or 256)

    def named(self, labels: Iterable[int]) -> list[str]:
        """The names of classes; numbers where they have none."""
        return [self.class_names[k] if 0 <= k < len(self.class_names) else str(k) for k in map(int, labels)]

    def shown_conditions(self, labels: np.ndarray) -> Batch:
        """The conditions that samples of these classes are drawn at, as results show them beside the samples."""
        return {}

    def held_out(self) -> int:
        """The number of test examples; fewer are kept in memory of a set that streams."""
        return len(self.test["label"])

    def summary(self) -> str:
        """The data in one line: ``shapes, 360 images, 4 classes (circle, cross, …), 40 held out``."""
        size = "drawn anew for every step" if self.examples is None else f"{self.examples:,} {self.unit}"
        names = [encodable(name) for name in self.class_names[:2]] + ["…"] * (len(self.class_names) > 2)
        classes = f"{self.num_classes:,} classes" + (f" ({', '.join(names)})" if names else "")
        held_out = f"{self.held_out():,} held out"
        return ", ".join([self.name, size, *([classes] if self.num_classes > 1 else []), held_out])

    def described(self) -> str:
        """One example, for people."""
        return " x ".join(map(str, self.shape))

    def frequency_axis(self) -> FrequencyAxis:
        """The unit of frequencies along the spatial axes."""
        return FrequencyAxis("cycles per sample", "cycles/sample")

    def perceptual_loss(self, y: Array, x: Array) -> Array | None:
        """A further loss ``(B,)`` of reconstructions ``y`` of ``x`` as the network receives them; None for none."""
        del y, x
        return None

    def distances(self, y: Array, x: Array) -> dict[str, Array]:
        """Further distances of reconstructions, ``(B,)`` by name."""
        del y, x
        return {}


class Encoded(Dataset):
    """Another data set, ``inner``, whose examples the network receives in another representation."""

    def __init__(self, inner: Dataset):
        self.inner = inner
        for name in (
            *("name", "unit", "num_classes", "class_names", "labelled", "examples", "streaming", "min_samples"),
            *("max_evaluated", "max_held_out", "evaluation_batch"),
        ):
            setattr(self, name, getattr(inner, name))

    def held_out(self):
        return self.inner.held_out()

    def view(self, samples):
        return self.inner.view(samples)

    def preview(self):
        return self.inner.preview()

    def guidance_labels(self):
        return self.inner.guidance_labels()

    def scorer(self):
        return self.inner.scorer()


def preprocess(dataset: Dataset, batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch with ``x`` as the network receives it, and the examples as they are stored under ``raw``."""
    return {**batch, "x": dataset.inputs(batch), "raw": batch["x"]}


def rows_of(part: Batch, rows: Any) -> Batch:
    """Some examples of a set; ``rows`` is a slice or an array of indices."""
    return {name: value[rows] for name, value in part.items()}


def evenly(total: int, count: int) -> np.ndarray:
    """``count`` indices below ``total``, evenly spaced from the first to the last; all if there are not more.

    >>> evenly(9, 3).tolist(), evenly(2, 5).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)


def divided(total: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows below ``total`` to train on, and ``count`` others, evenly spaced.

    >>> [rows.tolist() for rows in divided(5, 2)]
    [[1, 2, 3], [0, 4]]
    """
    held_out = evenly(total, count)
    return np.delete(np.arange(total), held_out), held_out


def beside_held_out(dataset: Dataset) -> Preview:
    """Ten held-out examples, evenly spaced, and samples of their classes beside them."""
    few = rows_of(dataset.test, evenly(len(dataset.test["label"]), 10))
    return Preview(few["label"], ["sample", "held out"], few)


def held_out_of(dataset: Dataset, labels: np.ndarray) -> Batch:
    """A test example for each label: the examples of a class in order, starting over when they run out."""
    rows = {}
    for label in np.unique(labels):
        found = np.flatnonzero(dataset.test["label"] == label)
        require(len(found) > 0, "data.test_split", dataset.name, f"a split with examples of class {label}")
        rows[label] = itertools.cycle(found)
    return rows_of(dataset.test, [next(rows[label]) for label in labels])


def in_blocks(run: Callable[[Any], Any], x: Any, size: int) -> Any:
    """``run`` on blocks of exactly ``size`` rows of an array or a tree of arrays, the last one padded; trees of numpy
    arrays, joined."""
    parts, length = [], len(jax.tree.leaves(x)[0])
    for start in range(0, length, size):
        block = jax.tree.map(operator.itemgetter(np.minimum(np.arange(start, start + size), length - 1)), x)
        parts.append(jax.tree.map(np.asarray, run(block)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:length], *parts)

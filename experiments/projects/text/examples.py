"""The captions or classes that images are drawn from in an evaluation, and the gallery for their retrieval."""

from typing import NamedTuple

import numpy as np

from experiments.data.dataset import evenly
from experiments.data.images import ImageSet

SEEN, HELD_OUT, CLASSES = "seen", "held out", "classes"
MOST_SEEN = 1000
"""Captions of training pictures in the gallery, at most."""


class Gallery(NamedTuple):
    """``G`` captions, or names of classes, that a picture may belong to."""

    texts: list[str]

    @property
    def about(self) -> str:
        """A sentence about the gallery."""
        return f"Looked up among {len(self.texts):,} texts, of which those that describe the same subject are right."


class Examples(NamedTuple):
    """The captions or classes of N drawn or real images.

    Attributes:
      texts: captions.
      labels: classes.
      right: entries of the gallery that belong to each, booleans ``(N, G)``.
      rows: the real picture of each in its part of the data.
    """

    texts: list[str]
    labels: np.ndarray
    right: np.ndarray
    rows: np.ndarray

    def some(self, count: int) -> "Examples":
        """``count`` of them at random, always the same; all in turn if there are not so many."""
        chosen = np.sort(np.resize(np.random.default_rng(0).permutation(len(self.texts)), count))
        return Examples([self.texts[i] for i in chosen], self.labels[chosen], self.right[chosen], self.rows[chosen])


def of_captions(dataset: ImageSet) -> tuple[Gallery, dict[str, Examples]]:
    """The gallery of captions, and the captions in it, from training and held out apart.

    The gallery has all captions of test pictures, and all of so many training pictures, evenly spaced, that these are
    at most :data:`MOST_SEEN`. A caption belongs to every picture of the subject that it describes.
    """
    assert dataset.texts is not None
    train, test = dataset.texts
    most = max(map(len, train))
    parts = {
        SEEN: (dataset.train, train, evenly(len(train), max(1, MOST_SEEN // most))),
        HELD_OUT: (dataset.test, test, np.arange(len(test))),
    }
    found = {
        name: [(text, int(row)) for row in rows for text in texts[row] if text]
        for name, (_, texts, rows) in parts.items()
    }
    texts = sorted({text for pairs in found.values() for text, _ in pairs})
    column = {text: i for i, text in enumerate(texts)}
    subjects = {name: np.asarray(part["subject"]) for name, (part, _, _) in parts.items()}
    belongs = np.zeros((1 + max(int(of.max()) for of in subjects.values()), len(texts)), bool)
    for name, pairs in found.items():
        for text, row in pairs:
            belongs[subjects[name][row], column[text]] = True
    examples = {}
    for name, pairs in found.items():
        rows = np.asarray([row for _, row in pairs])
        labels = np.asarray(parts[name][0]["label"], np.int32)[rows]
        examples[name] = Examples([text for text, _ in pairs], labels, belongs[subjects[name][rows]], rows)
    return Gallery(texts), examples


def of_classes(dataset: ImageSet) -> tuple[Gallery, dict[str, Examples]]:
    """The classes as a gallery, and the classes of the test pictures."""
    labels = np.asarray(dataset.test["label"], np.int32)
    texts = dataset.named(range(dataset.num_classes))
    right = np.eye(dataset.num_classes, dtype=bool)[labels]
    examples = Examples([texts[k] for k in labels], labels, right, np.arange(len(labels)))
    return Gallery(texts), {CLASSES: examples}

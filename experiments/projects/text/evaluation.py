"""Metrics of images that were drawn from captions, each with its standard error."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from experiments.data.dataset import evenly, rows_of
from experiments.data.images import ImageSet
from scorekit import metrics

Row = dict[str, list[float]]
"""Value and standard error by the name of the metric."""
SEEN, HELD_OUT = "seen", "held out"
MOST_SEEN = 1000
"""Captions of training images in the gallery, at most."""
SIMILARITY, NEAREST, IMAGES, FRECHET = "similarity", "nearest", "images", "Fréchet distance"
_FRACTIONS = ("precision", "recall", "density", "coverage")
_REFERENCE, _GROUPS = 2000, 10


class Examples(NamedTuple):
    """The captions of N drawn or real images.

    Attributes:
      texts: captions.
      labels: classes.
      right: captions of the gallery that belong to each, booleans ``(N, G)``.
      rows: the real image of each in its part of the data.
    """

    texts: list[str]
    labels: np.ndarray
    right: np.ndarray
    rows: np.ndarray

    def at(self, chosen: np.ndarray) -> "Examples":
        """These of them."""
        return Examples([self.texts[i] for i in chosen], self.labels[chosen], self.right[chosen], self.rows[chosen])

    def some(self, count: int) -> "Examples":
        """``count`` of them at random, always the same; all in turn if there are not so many."""
        return self.at(np.sort(np.resize(np.random.default_rng(0).permutation(len(self.texts)), count)))


def of_captions(dataset: ImageSet) -> tuple[list[str], dict[str, Examples]]:
    """The gallery of captions, and the captions in it, from training and held out apart.

    The gallery has all captions of test images, and all of so many training images, evenly spaced, that these are
    at most :data:`MOST_SEEN`. A caption belongs to every image of the subject that it describes.
    """
    assert dataset.texts is not None
    train, test = dataset.texts
    most = max(map(len, train))
    parts = {
        SEEN: (dataset.train, train, evenly(len(train), max(1, MOST_SEEN // most))),
        HELD_OUT: (dataset.test, test, np.arange(len(test))),
    }
    captioned = {
        name: [(text, int(row)) for row in rows for text in texts[row] if text]
        for name, (_, texts, rows) in parts.items()
    }
    texts = sorted({text for pairs in captioned.values() for text, _ in pairs})
    column = {text: i for i, text in enumerate(texts)}
    subjects = {name: np.asarray(part["subject"]) for name, (part, _, _) in parts.items()}
    belongs = np.zeros((1 + max(int(of.max()) for of in subjects.values()), len(texts)), bool)
    for name, pairs in captioned.items():
        for text, row in pairs:
            belongs[subjects[name][row], column[text]] = True
    examples = {}
    for name, pairs in captioned.items():
        rows = np.asarray([row for _, row in pairs])
        labels = np.asarray(parts[name][0]["label"], np.int32)[rows]
        examples[name] = Examples([text for text, _ in pairs], labels, belongs[subjects[name][rows]], rows)
    return texts, examples


class Evaluator(NamedTuple):
    """Features ``images (N, H, W, C) -> (N, D)`` and those of the gallery ``(G, D)``, whose product is a cosine."""

    features: Callable[[np.ndarray], np.ndarray]
    gallery: np.ndarray


class Reference(NamedTuple):
    """Training images ``(M, H, W, C)``, and the features of 2,000 of them at most, evenly spaced."""

    images: np.ndarray
    features: np.ndarray


def reference(dataset: ImageSet, evaluator: Evaluator) -> Reference:
    """What drawn images are compared with."""
    images = dataset.real(dataset.train)
    return Reference(images, evaluator.features(images[evenly(len(images), _REFERENCE)]))


def retrieval(features: np.ndarray, gallery: np.ndarray, right: np.ndarray) -> Row:
    """The fraction of images of which a right text is among the first, and the mean cosine of the right ones."""
    scores = features @ gallery.T
    results = {f"R@{k}": _mean(_accuracy(scores, right, k=k)) for k in (1, 5)}
    return {**results, SIMILARITY: _mean(np.where(right, scores, 0.0).sum(1) / right.sum(1))}


def chance(right: np.ndarray) -> Row:
    """The retrieval of texts that are drawn at random, without standard errors: it is exact."""
    results = retrieval(np.zeros((len(right), 1)), np.zeros((right.shape[1], 1)), right)
    return {name: [value, 0.0] for name, (value, _) in results.items() if name != SIMILARITY}


def measure(images: np.ndarray, right: np.ndarray, evaluator: Evaluator, real: Reference) -> Row:
    """All metrics of images ``(N, H, W, C)`` in [-1, 1], N at least 8, whose right texts are ``right``."""
    features = np.asarray(evaluator.features(images), np.float32)
    results = retrieval(features, evaluator.gallery, right) | nearest(images, real.images)
    return {**results, **compared(features, real.features), IMAGES: [len(images), 0.0]}


def of_real(dataset: ImageSet, kind: str, examples: Examples, evaluator: Evaluator, real: Reference) -> Row:
    """The metrics of real images, with one caption each; for training images only the retrieval."""
    some = examples.at(np.unique(examples.rows, return_index=True)[1])
    images = dataset.real(rows_of(dataset.train if kind == SEEN else dataset.test, some.rows))
    if kind != SEEN:
        return measure(images, some.right, evaluator, real)
    retrieved = retrieval(evaluator.features(images), evaluator.gallery, some.right)
    return {**retrieved, IMAGES: [len(images), 0.0]}


def nearest(images: np.ndarray, real: np.ndarray) -> Row:
    """The root mean square difference, per value, from the nearest training image."""
    flat = [x.reshape(len(x), -1) for x in (images, real)]
    return {NEAREST: _mean(np.asarray(_nearest(*flat)) / np.sqrt(flat[0].shape[1]))}


def compared(features: np.ndarray, real: np.ndarray) -> Row:
    """Precision, recall, density, coverage and Fréchet distance; errors by leaving out a tenth of the images."""
    values = jax.jit(_distances)(features, real)
    errors = _errors(features, real, min(_GROUPS, len(features)))
    return {name: [float(values[name]), float(errors[name])] for name in (*_FRACTIONS, FRECHET)}


def _distances(x, real):
    near, balls = metrics.precision_recall(real, x), metrics.density_coverage(real, x)
    return {**near._asdict(), **balls._asdict(), FRECHET: metrics.frechet_distance(real, x)}


@functools.partial(jax.jit, static_argnums=2)
def _errors(x, real, groups):
    return metrics.jackknife_error(lambda part: _distances(part, real), x, groups)


_accuracy = jax.jit(metrics.retrieval_accuracy, static_argnames="k")
_nearest = jax.jit(metrics.nearest_distances)


def _mean(values) -> list[float]:
    values = np.asarray(values, np.float64)
    return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))]

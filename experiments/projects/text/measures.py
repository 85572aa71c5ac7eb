"""Metrics of pictures that were drawn from captions or classes, each with its standard error."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from experiments.data.dataset import evenly, rows_of
from experiments.data.images import ImageSet
from experiments.projects.text.evaluators import Evaluator
from experiments.projects.text.examples import SEEN, Examples
from experiments.tasks.diffusion.metrics.inception import Extractor
from scorekit import metrics

Row = dict[str, list[float]]
"""Value and standard error by the name of the metric."""
FOUND, SIMILARITY, NEAREST = (1, 5), "similarity", "nearest"
SECONDS, PICTURES = "s per picture", "pictures"
FRECHET, _SHARES = "Fréchet distance", ("precision", "recall", "density", "coverage")
_REFERENCE, _GROUPS = 2000, 10


class Features(NamedTuple):
    """Features ``of(pictures)``, ``(N, D)``, that sets of pictures are compared by.

    ``suffix`` ends the names of their metrics, ``real`` are features of training pictures.
    """

    of: Callable[[np.ndarray], np.ndarray]
    suffix: str
    real: np.ndarray


class Reference(NamedTuple):
    """Training pictures ``(M, H, W, C)``, and what they are compared by."""

    pictures: np.ndarray
    features: tuple[Features, ...]


def reference(dataset: ImageSet, evaluator: Evaluator, others: Mapping[str, Callable] | None = None) -> Reference:
    """All training pictures for the nearest one, and the features of 2,000 of them at most, evenly spaced."""
    pictures = dataset.real(dataset.train)
    few = pictures[evenly(len(pictures), _REFERENCE)]
    named = {"": evaluator.features, **(others or {})}
    return Reference(pictures, tuple(Features(of, suffix, of(few)) for suffix, of in named.items()))


def retrieval(features: np.ndarray, evaluator: Evaluator, examples: Examples) -> Row:
    """The share of pictures of which a right text is among the first, and the mean score of the right ones."""
    scores = features @ evaluator.entries.T
    found = {}
    for k in FOUND:
        name = f"R@{k}" if evaluator.scores_texts else f"accuracy, top {k}"
        found[name] = _mean(_accuracy(scores, examples.right, k=k))
    if evaluator.scores_texts:
        found[SIMILARITY] = _mean(np.where(examples.right, scores, 0.0).sum(1) / examples.right.sum(1))
    return found


def chance(evaluator: Evaluator, examples: Examples) -> Row:
    """The same for texts that are drawn at random, without standard errors: it is exact."""
    flat = evaluator._replace(entries=np.zeros_like(evaluator.entries))
    found = retrieval(np.zeros((len(examples.texts), evaluator.entries.shape[1]), np.float32), flat, examples)
    return {name: [value, 0.0] for name, (value, _) in found.items() if name != SIMILARITY}


def measure(pictures: np.ndarray, examples: Examples, evaluator: Evaluator, real: Reference) -> Row:
    """All metrics of pictures ``(N, H, W, C)`` in [-1, 1], N at least 8, that were drawn from ``examples``."""
    found: Row = {}
    for part in real.features:
        features = np.asarray(part.of(pictures), np.float32)
        if not part.suffix:
            found |= retrieval(features, evaluator, examples) | nearest(pictures, real)
        found |= {f"{name}{part.suffix}": pair for name, pair in compared(features, part.real).items()}
    return found


def nearest(pictures: np.ndarray, real: Reference) -> Row:
    """The root mean square difference, per value, from the nearest training picture."""
    flat = [x.reshape(len(x), -1) for x in (pictures, real.pictures)]
    return {NEAREST: _mean(np.asarray(_nearest(*flat)) / np.sqrt(flat[0].shape[1]))}


def compared(features: np.ndarray, real: np.ndarray) -> Row:
    """Precision, recall, density, coverage and Fréchet distance; errors by leaving out a tenth of the pictures."""
    values = jax.jit(_distances)(features, real)
    errors = _errors(features, real, min(_GROUPS, len(features)))
    return {name: [float(values[name]), float(errors[name])] for name in (*_SHARES, FRECHET)}


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


def of_real(dataset: ImageSet, kind: str, examples: Examples, evaluator: Evaluator, real: Reference) -> Row:
    """The metrics of real images, with one caption each; for training images only the retrieval."""
    each = np.unique(examples.rows, return_index=True)[1]
    some = Examples([examples.texts[i] for i in each], examples.labels[each], examples.right[each], examples.rows[each])
    seen = kind == SEEN
    pictures = dataset.real(rows_of(dataset.train if seen else dataset.test, some.rows))
    row = retrieval(evaluator.features(pictures), evaluator, some) if seen else measure(pictures, some, evaluator, real)
    return {**row, PICTURES: [len(pictures), 0.0]}


def vgg_features(path: str | None) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Features of VGG-16 by the endings of the names of their metrics; none without weights."""
    return {} if path is None else {" (VGG)": Extractor("vgg", path, "clean", f"--vgg_weights={path}")}

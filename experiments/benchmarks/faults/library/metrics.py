"""Metrics."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Classes, Count, Data, call
from scorekit import metrics

_IN, _OUT = np.arange(5, dtype=np.float32), np.arange(7, dtype=np.float32) + 2
_FLOATS = {"integer": "integers count as floats"}
_KEY = jax.random.key(0)
_X = np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0], [-1.0, 2.0], [0.5, -2.0]], np.float32)
_Y = _X + 0.5
_LABEL = np.array([0, 0, 1, 1, 1])
_NAMES = {"negative": "any integers name classes", "too large": "a class without training examples counts as wrong"}
_FREE_SHAPE = _FLOATS | {"shape": "all axes but the first are flattened"}
_SCORES = {"in_scores": Data(_IN, _FLOATS), "out_scores": Data(_OUT, _FLOATS)}
_PROBE = metrics.fit_linear_probe(_X, _LABEL, 2)
_CLASSIFIER = metrics.fit_reference_classifier(_X, _LABEL)


def _features(x: str, y: str) -> dict:
    return {x: Data(_X, _FLOATS), y: Data(_Y, _FLOATS)}


_IMAGES = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1)
_STATISTICS = metrics.feature_statistics(_X)

ROWS: dict[str, Call] = {
    "metrics.auroc": call(metrics.auroc, **_SCORES),
    "metrics.aupr": call(metrics.aupr, **_SCORES),
    "metrics.fpr_at_tpr": call(metrics.fpr_at_tpr, **_SCORES),
    "metrics.bootstrap_interval": call(
        lambda **kwargs: metrics.bootstrap_interval(_KEY, metrics.auroc, **kwargs),
        **_SCORES,
        resamples=4,
    ),
    "metrics.energy_distance": call(metrics.energy_distance, **_features("x", "y")),
    "metrics.frechet_distance": call(metrics.frechet_distance, **_features("x", "y")),
    "metrics.sliced_wasserstein": call(
        lambda **kwargs: metrics.sliced_wasserstein(_KEY, **kwargs), **_features("x", "y"), num_projections=4
    ),
    "metrics.precision_recall": call(metrics.precision_recall, **_features("real", "fake"), k=1),
    "metrics.density_coverage": call(metrics.density_coverage, **_features("real", "fake"), k=1),
    "metrics.nearest_distances": call(metrics.nearest_distances, **_features("x", "reference")),
    "metrics.retrieval_accuracy": call(
        metrics.retrieval_accuracy, scores=Data(_X, _FLOATS), right=np.eye(2, dtype=bool)[_LABEL]
    ),
    "metrics.jackknife_error": call(
        lambda **kwargs: metrics.jackknife_error(jnp.mean, **kwargs), x=Data(_X, _FREE_SHAPE), groups=5
    ),
    "metrics.vendi_score": call(metrics.vendi_score, x=Data(_X, _FLOATS), bandwidth=1.0),
    "metrics.vendi_score/cosine": call(metrics.vendi_score, x=Data(_X, _FLOATS)),
    "metrics.psnr": call(metrics.psnr, x=Data(_X, _FLOATS), truth=Data(_Y, _FLOATS)),
    "metrics.fit_linear_probe": call(
        metrics.fit_linear_probe,
        features=Data(_X, _FREE_SHAPE),
        label=Classes(0 * _LABEL, num_classes=2),
        num_classes=2,
    ),
    "metrics.probe_accuracy": call(
        metrics.probe_accuracy,
        probe=_PROBE,
        features=Data(_X, _FREE_SHAPE),
        label=Classes(_LABEL, num_classes=2),
    ),
    "metrics.fit_reference_classifier": call(
        metrics.fit_reference_classifier, x=Data(_X, _FREE_SHAPE), label=Classes(_LABEL, _NAMES, num_classes=2)
    ),
    "metrics.class_accuracy": call(
        metrics.class_accuracy,
        classifier=_CLASSIFIER,
        samples=Data(_X, _FREE_SHAPE),
        labels=Classes(_LABEL, _NAMES, num_classes=2),
    ),
    "metrics.classification_accuracy_score": call(
        metrics.classification_accuracy_score,
        samples=Data(_X, _FREE_SHAPE),
        labels=Classes(_LABEL, _NAMES, num_classes=2),
        test_x=Data(_Y, _FREE_SHAPE),
        test_label=Classes(_LABEL, _NAMES, num_classes=2),
    ),
    "metrics.feature_statistics": call(metrics.feature_statistics, features=Data(_X, _FLOATS)),
    "metrics.merge_statistics": call(
        lambda count: metrics.merge_statistics([_STATISTICS, _STATISTICS._replace(count=count)]),
        count=Count(3, alias="parts"),
    ),
    "metrics.fid": call(
        lambda mean, covariance: metrics.fid(metrics.FeatureStatistics(None, mean, covariance), _STATISTICS),
        mean=Data(_STATISTICS.mean, _FLOATS, alias="x"),
        covariance=Data(_STATISTICS.covariance, _FLOATS, alias="x"),
    ),
    "metrics.kid": call(
        metrics.kid,
        **_features("real", "fake"),
        subsets=2,
        subset_size=3,
    ),
    "metrics.inception_score": call(metrics.inception_score, logits=Data(_X, _FLOATS), splits=2),
    "metrics.resize": call(metrics.resize, images=Data(_IMAGES, _FLOATS), size=3, convention="tf1"),
    "metrics.inception_input": call(metrics.inception_input, images=Data(_IMAGES, _FLOATS), convention="tf1"),
    "metrics.vgg_input": call(metrics.vgg_input, images=Data(_IMAGES, _FLOATS), convention="tf1"),
}

EXEMPT = {
    "metrics.FeatureStatistics": "a result",
    "metrics.InceptionScore": "a result",
    "metrics.KernelDistance": "a result",
    "metrics.InceptionV3": "a network, which checks nothing; its input is from inception_input",
    "metrics.vgg.vgg_input": "metrics.vgg_input",
    "metrics.VGG16": "a network, which checks nothing; its input is from vgg_input",
    "metrics.merge_over_processes": "takes a result only",
    "metrics.Interval": "a result",
    "metrics.LinearProbe": "a result",
    "metrics.PrecisionRecall": "a result",
    "metrics.DensityCoverage": "a result",
}

"""Metrics. Power spectra and errors by frequency band."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, metrics, schedules
from scorekit.densities import random_fields, spectra
from valid_calls.kinds import Classes, Count, Data, call

_IN, _OUT = np.arange(5, dtype=np.float32), np.arange(7, dtype=np.float32) + 2
_KEY = jax.random.key(0)
_X = np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0], [-1.0, 2.0], [0.5, -2.0]], np.float32)
_Y = _X + 0.5
_LABEL = np.array([0, 0, 1, 1, 1])
_SCORES = {"in_scores": Data(_IN, "integer"), "out_scores": Data(_OUT, "integer")}
_PROBE = metrics.fit_linear_probe(_X, _LABEL, 2)
_CLASSIFIER = metrics.fit_reference_classifier(_X, _LABEL)


def _features(x: str, y: str) -> dict:
    return {x: Data(_X, "integer"), y: Data(_Y, "integer")}


_IMAGES = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1)
_STATISTICS = metrics.feature_statistics(_X)
_SCHEDULE = schedules.cosine()
_DENOISER = denoisers.exact_denoiser(random_fields.random_field(np.ones(4, np.float32)), _SCHEDULE)
_BANDS = spectra.radial_bands((4,))
_X_SPECTRA = np.array([[[1.0], [0.0], [2.0], [-1.0]], [[1.0], [0.5], [0.0], [2.0]]], np.float32)
_POWER = np.array([4.0, 1.0, 0.5], np.float32)
_SPECTRUM = {
    "power": Data(_POWER, "integer"),
    "log_snr": Data(np.array([0.0, 1.0], np.float32), "integer, shape, empty"),
}
USUAL = {
    "bands": _BANDS,
    "x": Data(_X, "integer"),
    "images": Data(_IMAGES, "integer"),
    "convention": "tf1",
    "key": _KEY,
    "features": Data(_X, "integer, shape"),
    "samples": Data(_X, "integer, shape"),
    "labels": Classes(_LABEL, "negative; too large: a class without training examples counts as wrong", num_classes=2),
}
ROWS = {
    "metrics.auroc": call(**_SCORES),
    "metrics.aupr": call(**_SCORES),
    "metrics.fpr_at_tpr": call(**_SCORES),
    "metrics.bootstrap_interval": call(metric=metrics.auroc, **_SCORES, resamples=4),
    "metrics.energy_distance": call(**_features("x", "y")),
    "metrics.frechet_distance": call(**_features("x", "y")),
    "metrics.sliced_wasserstein": call(**_features("x", "y"), num_projections=4),
    "metrics.precision_recall": call(**_features("real", "fake"), k=1),
    "metrics.density_coverage": call(**_features("real", "fake"), k=1),
    "metrics.nearest_distances": call(**_features("x", "reference")),
    "metrics.retrieval_accuracy": call(scores=Data(_X, "integer"), right=np.eye(2, dtype=bool)[_LABEL]),
    "metrics.jackknife_error": call(statistic=jnp.mean, x=Data(_X, "integer, shape"), groups=5),
    "metrics.vendi_score": call(bandwidth=1.0),
    "metrics.vendi_score/cosine": call(),
    "metrics.psnr": call(truth=Data(_Y, "integer")),
    "metrics.fit_linear_probe": call(label=Classes(0 * _LABEL, num_classes=2), num_classes=2),
    "metrics.probe_accuracy": call(probe=_PROBE, label=Classes(_LABEL, num_classes=2)),
    "metrics.fit_reference_classifier": call(
        x=Data(_X, "integer, shape"),
        label=Classes(_LABEL, "negative; too large: a class without training examples counts as wrong", num_classes=2),
    ),
    "metrics.class_accuracy": call(classifier=_CLASSIFIER),
    "metrics.classification_accuracy_score": call(
        test_x=Data(_Y, "integer, shape"),
        test_label=Classes(
            _LABEL, "negative; too large: a class without training examples counts as wrong", num_classes=2
        ),
    ),
    "metrics.feature_statistics": call(features=Data(_X, "integer")),
    "metrics.merge_statistics": call(
        lambda count: metrics.merge_statistics([_STATISTICS, _STATISTICS._replace(count=count)]),
        count=Count(3, alias="parts"),
    ),
    "metrics.fid": call(
        lambda mean, covariance: metrics.fid(metrics.FeatureStatistics(None, mean, covariance), _STATISTICS),
        mean=Data(_STATISTICS.mean, "integer", alias="x"),
        covariance=Data(_STATISTICS.covariance, "integer", alias="x"),
    ),
    "metrics.kid": call(**_features("real", "fake"), subsets=2, subset_size=3),
    "metrics.inception_score": call(logits=Data(_X, "integer"), splits=2),
    "metrics.resize": call(size=3),
    "metrics.inception_input": call(),
    "metrics.vgg_input": call(),
    "densities.spectra.radial_bands": call(
        lambda size, edges: spectra.radial_bands((size,), edges),
        size=Count(4, alias="grid"),
        edges=Data(np.array([0.1, 0.3]), "empty: without edges there is one band"),
    ),
    "densities.spectra.band_power": call(x=Data(_X_SPECTRA, "integer")),
    "densities.spectra.power_spectrum": call(bands=_BANDS, x=Data(_X_SPECTRA, "integer")),
    "densities.spectra.band_snr": call(**_SPECTRUM),
    "densities.spectra.wiener_gain": call(**_SPECTRUM),
    "densities.spectra.wiener_error": call(**_SPECTRUM),
    "densities.spectra.transition_log_snr": call(power=Data(_POWER, "integer")),
    "densities.spectra.cutoff_frequency": call(gain=Data(np.array([0.9, 0.6, 0.1], np.float32), "integer")),
    "densities.spectra.error_by_band": call(
        key=jax.random.key(0),
        denoiser=_DENOISER,
        schedule=_SCHEDULE,
        x0=Data(_X_SPECTRA),
        ts=Data(np.array([0.3, 0.6], np.float32), "integer"),
    ),
}

"""Metrics. Power spectra and errors by frequency band."""

import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, metrics
from scorekit.densities import random_fields, spectra
from valid_calls.common import COSINE, KEY
from valid_calls.kinds import Classes, Count, Data, call

_X = np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0], [-1.0, 2.0], [0.5, -2.0]], np.float32)
_LABEL = np.array([0, 0, 1, 1, 1])
_STATISTICS = metrics.feature_statistics(_X)
_FIELDS = np.array([[[1.0], [0.0], [2.0], [-1.0]], [[1.0], [0.5], [0.0], [2.0]]], np.float32)
_LABELS = Classes(_LABEL, "negative; too large: a class without training examples counts as wrong", num_classes=2)
USUAL = {
    **dict.fromkeys(("x", "real"), Data(_X, "integer")),
    **dict.fromkeys(("y", "fake", "reference", "truth"), Data(_X + 0.5, "integer")),
    **dict.fromkeys(("features", "samples"), Data(_X, "integer, shape")),
    **dict.fromkeys(("labels", "label", "test_label"), _LABELS),
    "in_scores": Data(np.arange(5, dtype=np.float32), "integer"),
    "out_scores": Data(np.arange(7, dtype=np.float32) + 2, "integer"),
    "bands": spectra.radial_bands((4,)),
    "images": Data(np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1), "integer"),
    "convention": "tf1",
    "key": KEY,
    "power": Data(np.array([4.0, 1.0, 0.5], np.float32), "integer"),
    "log_snr": Data(np.array([0.0, 1.0], np.float32), "integer, shape, empty"),
}
_PLAIN = "auroc aupr fpr_at_tpr energy_distance frechet_distance nearest_distances psnr"
ROWS = {
    **{f"metrics.{name}": call() for name in f"{_PLAIN} inception_input vgg_input".split()},
    **{
        f"densities.spectra.{name}": call()
        for name in ("band_snr", "wiener_gain", "wiener_error", "transition_log_snr")
    },
    "metrics.precision_recall": call(k=1),
    "metrics.density_coverage": call(k=1),
    "metrics.bootstrap_interval": call(metric=metrics.auroc, resamples=4),
    "metrics.sliced_wasserstein": call(num_projections=4),
    "metrics.retrieval_accuracy": call(scores=Data(_X, "integer"), right=np.eye(2, dtype=bool)[_LABEL]),
    "metrics.jackknife_error": call(statistic=jnp.mean, x=Data(_X, "integer, shape"), groups=5),
    "metrics.vendi_score": call(bandwidth=1.0),
    "metrics.vendi_score/cosine": call(),
    "metrics.fit_linear_probe": call(label=Classes(0 * _LABEL, num_classes=2), num_classes=2),
    "metrics.probe_accuracy": call(probe=metrics.fit_linear_probe(_X, _LABEL, 2), label=Classes(_LABEL, num_classes=2)),
    "metrics.fit_reference_classifier": call(x=Data(_X, "integer, shape")),
    "metrics.class_accuracy": call(classifier=metrics.fit_reference_classifier(_X, _LABEL)),
    "metrics.classification_accuracy_score": call(test_x=Data(_X + 0.5, "integer, shape")),
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
    "metrics.kid": call(subsets=2, subset_size=3),
    "metrics.inception_score": call(logits=Data(_X, "integer"), splits=2),
    "metrics.resize": call(size=3),
    "densities.spectra.radial_bands": call(
        grid=Count(4, of=lambda size: (size,)),
        edges=Data(np.array([0.1, 0.3]), "empty: without edges there is one band"),
    ),
    "densities.spectra.band_power": call(x=Data(_FIELDS, "integer")),
    "densities.spectra.power_spectrum": call(bands=USUAL["bands"], x=Data(_FIELDS, "integer")),
    "densities.spectra.cutoff_frequency": call(gain=Data(np.array([0.9, 0.6, 0.1], np.float32), "integer")),
    "densities.spectra.error_by_band": call(
        denoiser=denoisers.exact_denoiser(random_fields.random_field(np.ones(4, np.float32)), COSINE),
        schedule=COSINE,
        x0=Data(_FIELDS),
        ts=Data(np.array([0.3, 0.6], np.float32), "integer"),
    ),
}

"""Metrics and typicality; exact densities, random fields and errors by frequency band."""

import jax.numpy as jnp
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from scorekit import denoisers, densities, metrics
from scorekit.densities import spectra
from valid_calls.common import COSINE, floats
from valid_calls.kinds import Classes, Data, Shaped, call

_X = floats([0.0, 1.0], [2.0, 0.5], [1.0, 3.0], [-1.0, 2.0], [0.5, -2.0])
_LABEL = np.array([0, 0, 1, 1, 1])
_VALID, _ANY_SHAPE = Data(_X, "integer"), Data(_X, "integer, shape")
_STATISTICS = metrics.feature_statistics(_X)
_FIELDS = np.array([[[1.0], [0.0], [2.0], [-1.0]], [[1.0], [0.5], [0.0], [2.0]]], np.float32)
_LABELS = Classes(_LABEL, "negative; too large: a class without training examples counts as wrong", num_classes=2)
_MEAN, _POWER = floats(0.0, 1.0), floats(4.0, 2.0, 1.0, 2.0)
_GAUSSIAN, _MIXTURE = densities.gaussian(_MEAN, std=1.0), densities.ring(3)
_POINT = Data(floats([0.5, -0.5]), "integer, empty")
_OF_STATES, _SCORES = Data(_X[:4], "integer"), floats(0.0, 2.0, 1.0, 4.0)
_DATA, _PATH = Data(_POINT.value, alias="x_t"), Data(floats(0.75, 0.25))
_EACH = Data(_SCORES, "integer, shape, empty")


USUAL = {
    "metrics densities.spectra": {
        **dict.fromkeys(("x", "real"), _VALID),
        **dict.fromkeys(("y", "fake", "reference", "truth"), Data(_X + 0.5, "integer")),
        **dict.fromkeys(("features", "samples"), _ANY_SHAPE),
        **dict.fromkeys(("labels", "label"), _LABELS),
        "in_scores": Data(np.arange(5, dtype=np.float32), "integer"),
        "out_scores": Data(np.arange(7, dtype=np.float32) + 2, "integer"),
        "bands": spectra.radial_bands((4,)),
        "images": Data(np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1), "integer"),
        "levels": floats(0.5, 0.9),
        "power": Data(floats(4.0, 1.0, 0.5), "integer"),
        "log_snr": Data(floats(0.0, 1.0), "integer, shape, empty"),
    },
    "typicality": {
        "denoiser": denoisers.exact_denoiser(densities.gaussian(np.zeros(2, np.float32), std=1.0), COSINE),
        "schedule": COSINE,
        **dict.fromkeys(("log_density", "scores"), _EACH),
        "statistics": _OF_STATES,
        "calibration": Data(_SCORES, "integer"),
        "x": Data(np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)),
    },
}
_PLACED = Data(np.arange(24, dtype=np.float32).reshape(4, 3, 2) % 7, "integer")
_TRUTH = Data(floats([1.0, 3.0], [2.0, 0.5], [5.0, 3.0], [4.0, 2.0]), "integer")
_CURVE = Data(floats(0.5, 0.8), "integer; shape: one column is one parameter")
_FITTED = "standardise decorrelate kernel_density_score gaussian_score mean_z_score"
_BY_USUAL = """
    densities.spectra.band_snr densities.spectra.wiener_error densities.spectra.wiener_gain metrics.aupr
    metrics.auroc metrics.energy_distance metrics.fpr_at_tpr metrics.frechet_distance metrics.inception_input
    metrics.nearest_distances metrics.psnr metrics.resize typicality.code_length
    typicality.excess_information typicality.p_values typicality.typical_set
"""
ROWS = {
    **dict.fromkeys(_BY_USUAL.split(), call()),
    **{f"metrics.{name}": call(k=1) for name in ("precision_recall", "density_coverage")},
    "metrics.retrieval_accuracy": call(scores=_VALID, right=np.eye(2, dtype=bool)[_LABEL]),
    "metrics.jackknife_error": call(statistic=jnp.mean, x=_ANY_SHAPE, num_groups=5),
    "metrics.vendi_score/cosine": call(),
    "metrics.fit_linear_probe": call(label=Classes(0 * _LABEL, num_classes=2)),
    "metrics.probe_accuracy": call(probe=metrics.fit_linear_probe(_X, _LABEL, 2), label=Classes(_LABEL, num_classes=2)),
    "metrics.fit_reference_classifier": call(x=_ANY_SHAPE),
    "metrics.class_accuracy": call(classifier=metrics.fit_reference_classifier(_X, _LABEL)),
    "metrics.feature_statistics": call(features=_VALID),
    "metrics.fid": call(
        lambda mean, covariance: metrics.fid(metrics.FeatureStatistics(None, mean, covariance), _STATISTICS),
        mean=Data(_STATISTICS.mean, "integer", alias="x"),
        covariance=Data(_STATISTICS.covariance, "integer", alias="x"),
    ),
    "metrics.posterior_ranks": call(samples=_PLACED, truth=_TRUTH),
    **{f"metrics.{name}": call(samples=_PLACED, truth=_TRUTH) for name in ("interval_coverage", "tarp")},
    "metrics.tarp/references": call(samples=_PLACED, truth=_TRUTH, references=_TRUTH),
    "metrics.expected_coverage": call(
        log_density_samples=Data(_PLACED.value[..., 0], "integer"),
        log_density_truth=Data(_TRUTH.value[:, 0], "integer"),
    ),
    "metrics.coverage_test": call(coverage=_CURVE),
    "metrics.two_sample_test": call(
        x=Data(_X), y=Data(_X + 0.5, "integer"), classifier=LinearDiscriminantAnalysis(), num_folds=2
    ),
    "metrics.kid": call(num_subsets=2, subset_size=3),
    "metrics.inception_score": call(logits=_VALID, num_splits=2),
    "densities.spectra.band_power": call(x=Data(_FIELDS, "integer")),
    "densities.mixture": call(components=[_GAUSSIAN, _GAUSSIAN], weights=Data(_MEAN + 1.0, "integer")),
    "densities.Mixture/component": call(_MIXTURE.component, k=Classes(np.array(1), num_classes=3)),
    "densities.fit_gaussian": call(
        x=Data(_X[:3].astype(float), "integer: raises if the data do not vary"), rank=1, floor=0.1
    ),
    "densities.random_field": call(
        power=Data(_POWER, "integer"), mean=Shaped(np.zeros((4, 1), np.float32)), channels=2
    ),
    **{f"typicality.{name}": call(then="statistics", calibration=_OF_STATES) for name in _FITTED.split()},
    "typicality.monte_carlo_entropy": call(log_density=Data(_SCORES, "integer")),
    "typicality.local_typicality": call(states=Data(np.stack([_DATA.value] * 2), alias="x_t"), ts=_PATH),
    "typicality.typicality_test": call(
        log_density=Data(
            np.stack([_SCORES, _SCORES]),
            "integer; shape: any number of batches is allowed; empty: no batch gives no result",
        ),
        num_resamples=19,
    ),
    "typicality.path_statistics": call(x=_DATA, ts=_PATH),
}

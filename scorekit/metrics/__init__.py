"""Metrics of generated samples, of scores, of features and of reconstructions.

Distances between two sets of feature vectors ``(N, D)``, real and generated; the Inception network and the published
metrics of its features, and the VGG network; separation of two sets of scores; retrieval from a gallery; linear probes
of features; the peak signal-to-noise ratio; standard errors by the jackknife; the calibration of posteriors.

A ``ValueError`` names an argument whose shape is not the described one, or that has a non-finite value; in a traced
program such a value gives NaN.

Returns:
  A scalar, where no other result is named.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.metrics import inception, vgg
    from scorekit.metrics.calibration import (
        CalibrationTest,
        CoverageBand,
        coverage_band,
        coverage_test,
        expected_coverage,
        interval_coverage,
        posterior_ranks,
        rank_test,
        tarp,
    )
    from scorekit.metrics.detection import Interval, aupr, auroc, bootstrap_interval, fpr_at_tpr
    from scorekit.metrics.distances import energy_distance, frechet_distance, sliced_wasserstein, vendi_score
    from scorekit.metrics.inception import InceptionV3
    from scorekit.metrics.inception_metrics import InceptionScore, KernelDistance, fid, inception_score, kid
    from scorekit.metrics.jackknife import jackknife_error
    from scorekit.metrics.linear_probe import LinearProbe, fit_linear_probe, probe_accuracy
    from scorekit.metrics.neighbours import (
        DensityCoverage,
        PrecisionRecall,
        density_coverage,
        nearest_distances,
        precision_recall,
    )
    from scorekit.metrics.reconstruction import psnr
    from scorekit.metrics.reference_classifier import (
        class_accuracy,
        classification_accuracy_score,
        fit_reference_classifier,
    )
    from scorekit.metrics.resizing import CONVENTIONS, Convention, inception_input, resize
    from scorekit.metrics.retrieval import retrieval_accuracy
    from scorekit.metrics.statistics import (
        FeatureStatistics,
        feature_statistics,
        merge_over_processes,
        merge_statistics,
    )
    from scorekit.metrics.two_samples import two_sample_test
    from scorekit.metrics.vgg import VGG16, vgg_input

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "CONVENTIONS",
    "VGG16",
    "CalibrationTest",
    "Convention",
    "CoverageBand",
    "DensityCoverage",
    "FeatureStatistics",
    "InceptionScore",
    "InceptionV3",
    "Interval",
    "KernelDistance",
    "LinearProbe",
    "PrecisionRecall",
    "aupr",
    "auroc",
    "bootstrap_interval",
    "class_accuracy",
    "classification_accuracy_score",
    "coverage_band",
    "coverage_test",
    "density_coverage",
    "energy_distance",
    "expected_coverage",
    "feature_statistics",
    "fid",
    "fit_linear_probe",
    "fit_reference_classifier",
    "fpr_at_tpr",
    "frechet_distance",
    "inception",
    "inception_input",
    "inception_score",
    "interval_coverage",
    "jackknife_error",
    "kid",
    "merge_over_processes",
    "merge_statistics",
    "nearest_distances",
    "posterior_ranks",
    "precision_recall",
    "probe_accuracy",
    "psnr",
    "rank_test",
    "resize",
    "retrieval_accuracy",
    "sliced_wasserstein",
    "tarp",
    "two_sample_test",
    "vendi_score",
    "vgg",
    "vgg_input",
]

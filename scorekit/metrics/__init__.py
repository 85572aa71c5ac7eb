"""Metrics of generated samples, of scores, of features and of reconstructions.

Distances between two sets of feature vectors ``(N, D)``, real and generated; the Inception network and the published
metrics of its features; separation of two sets of scores; retrieval from a gallery; linear probes of features; the peak
signal-to-noise ratio; standard errors by the jackknife; the calibration of posteriors.

A ``ValueError`` names an argument whose shape is not the described one, or that has a non-finite value; in a traced
program such a value gives NaN.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.metrics import inception as inception
    from scorekit.metrics.calibration import CalibrationTest as CalibrationTest
    from scorekit.metrics.calibration import CoverageBand as CoverageBand
    from scorekit.metrics.calibration import coverage_band as coverage_band
    from scorekit.metrics.calibration import coverage_test as coverage_test
    from scorekit.metrics.calibration import expected_coverage as expected_coverage
    from scorekit.metrics.calibration import interval_coverage as interval_coverage
    from scorekit.metrics.calibration import posterior_ranks as posterior_ranks
    from scorekit.metrics.calibration import rank_test as rank_test
    from scorekit.metrics.calibration import tarp as tarp
    from scorekit.metrics.detection import Interval as Interval
    from scorekit.metrics.detection import aupr as aupr
    from scorekit.metrics.detection import auroc as auroc
    from scorekit.metrics.detection import bootstrap_interval as bootstrap_interval
    from scorekit.metrics.detection import fpr_at_tpr as fpr_at_tpr
    from scorekit.metrics.distances import energy_distance as energy_distance
    from scorekit.metrics.distances import frechet_distance as frechet_distance
    from scorekit.metrics.distances import sliced_wasserstein as sliced_wasserstein
    from scorekit.metrics.distances import vendi_score as vendi_score
    from scorekit.metrics.inception import InceptionV3 as InceptionV3
    from scorekit.metrics.inception_metrics import InceptionScore as InceptionScore
    from scorekit.metrics.inception_metrics import KernelDistance as KernelDistance
    from scorekit.metrics.inception_metrics import fid as fid
    from scorekit.metrics.inception_metrics import inception_score as inception_score
    from scorekit.metrics.inception_metrics import kid as kid
    from scorekit.metrics.jackknife import jackknife_error as jackknife_error
    from scorekit.metrics.linear_probe import LinearProbe as LinearProbe
    from scorekit.metrics.linear_probe import fit_linear_probe as fit_linear_probe
    from scorekit.metrics.linear_probe import probe_accuracy as probe_accuracy
    from scorekit.metrics.neighbours import DensityCoverage as DensityCoverage
    from scorekit.metrics.neighbours import PrecisionRecall as PrecisionRecall
    from scorekit.metrics.neighbours import density_coverage as density_coverage
    from scorekit.metrics.neighbours import nearest_distances as nearest_distances
    from scorekit.metrics.neighbours import precision_recall as precision_recall
    from scorekit.metrics.reconstruction import psnr as psnr
    from scorekit.metrics.reference_classifier import class_accuracy as class_accuracy
    from scorekit.metrics.reference_classifier import classification_accuracy_score as classification_accuracy_score
    from scorekit.metrics.reference_classifier import fit_reference_classifier as fit_reference_classifier
    from scorekit.metrics.resizing import CONVENTIONS as CONVENTIONS
    from scorekit.metrics.resizing import Convention as Convention
    from scorekit.metrics.resizing import inception_input as inception_input
    from scorekit.metrics.resizing import resize as resize
    from scorekit.metrics.retrieval import retrieval_accuracy as retrieval_accuracy
    from scorekit.metrics.statistics import FeatureStatistics as FeatureStatistics
    from scorekit.metrics.statistics import feature_statistics as feature_statistics
    from scorekit.metrics.statistics import merge_over_processes as merge_over_processes
    from scorekit.metrics.statistics import merge_statistics as merge_statistics
    from scorekit.metrics.two_samples import two_sample_test as two_sample_test

__getattr__, __dir__ = attach(__name__)

"""Guidance: pure functions from denoisers to denoisers, so that rules compose by nesting.

``dynamic_threshold(interval(classifier_free(cond, uncond, 3.0), cond, schedule), schedule)``. Every number is a leaf:
changing a scale, a bound or a percentile does not recompile.
"""

from scorekit.guidance import operators
from scorekit.guidance.classifier_free import classifier_free, classifier_free_batched, interval
from scorekit.guidance.inverse import dps, mmps, pigdm, replacement
from scorekit.guidance.thresholding import dynamic_threshold, static_threshold

__all__ = [
    "classifier_free",
    "classifier_free_batched",
    "dps",
    "dynamic_threshold",
    "interval",
    "mmps",
    "operators",
    "pigdm",
    "replacement",
    "static_threshold",
]

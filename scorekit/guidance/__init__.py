"""Guidance: pure functions from denoisers to denoisers, so that rules compose by nesting.

``dynamic_threshold(interval(classifier_free(cond, uncond, 3.0), cond, schedule), schedule)``. Every number is a leaf:
changing a scale, a bound or a percentile does not recompile. Models with an explicit density are guided on the joint,
by functions from log-densities to a log-density; ``scorekit.guidance.sequences`` counts out discrete sequences.
"""

from scorekit.guidance import sequences
from scorekit.guidance.classifier_free import classifier_free, classifier_free_batched, interval
from scorekit.guidance.explicit import classifier_free_log_density, classifier_guided_log_density, log_product
from scorekit.guidance.thresholding import dynamic_threshold, static_threshold

__all__ = [
    "classifier_free",
    "classifier_free_batched",
    "classifier_free_log_density",
    "classifier_guided_log_density",
    "dynamic_threshold",
    "interval",
    "log_product",
    "sequences",
    "static_threshold",
]

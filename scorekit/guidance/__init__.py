"""Guidance: pure functions from denoisers to denoisers, so that rules compose by nesting; ``docs/guidance.md``: which,
when.

``dynamic_threshold(interval(classifier_free(cond, uncond, 3.0), cond, schedule), schedule)``. Every number is a leaf:
changing a scale, a bound or a percentile does not recompile. A guidance scale may be a function of the time.

=========================  ===========================================================================  ======
rule                       what it does to ``(x0, eps)``                                                memory
=========================  ===========================================================================  ======
``classifier_free``        ``u + gamma (c - u)``; also ``autoguidance``, ``compose``, ``negative``
``classifier_guidance``    adds ``gamma grad log p(y | x_t)`` to the score
``cfg_plus_plus``          x0 of ``classifier_free``, eps of u
``apg``                    the difference across ``x0_cond``, shortened, with momentum                  yes
``cfg_zero_star``          from the closest multiple of u, in velocity
``tangential``             from the part of u that c shares
``frequency_decoupled``    a scale for each band of a Laplacian pyramid
``interval``               one denoiser within bounds on the noise, another outside
``rescale``                back to the standard deviation of c
``static_threshold``       clips x0; ``dynamic_threshold`` at a percentile
``temperature``            divides the score
``windowed``               blends those of overlapping windows of a longer signal
``replacement``            what was observed, in x0; also ``dps``, ``pigdm``, ``mmps``: inverse problems
=========================  ===========================================================================  ======

Models with an explicit density are guided on the joint, by functions from log-densities to a log-density
(``classifier_free_log_density``, ...); ``scorekit.guidance.sequences`` counts out discrete sequences.
"""

from scorekit.guidance import operators, sequences, windows
from scorekit.guidance.classifier import classifier_guidance
from scorekit.guidance.classifier_free import (
    autoguidance,
    cfg_plus_plus,
    classifier_free,
    classifier_free_batched,
    compose,
    negative,
)
from scorekit.guidance.explicit import classifier_free_log_density, classifier_guided_log_density, log_product
from scorekit.guidance.frequency import frequency_decoupled
from scorekit.guidance.interval import interval
from scorekit.guidance.inverse import dps, mmps, pigdm, replacement
from scorekit.guidance.projections import apg, cfg_zero_star, tangential
from scorekit.guidance.rules import branches, rule
from scorekit.guidance.stateful import StatefulDenoiser, init_denoiser_state, predict, with_state
from scorekit.guidance.temperature import temperature
from scorekit.guidance.thresholding import dynamic_threshold, rescale, static_threshold
from scorekit.guidance.weights import weight_schedule
from scorekit.guidance.windows import windowed

__all__ = [
    "StatefulDenoiser",
    "apg",
    "autoguidance",
    "branches",
    "cfg_plus_plus",
    "cfg_zero_star",
    "classifier_free",
    "classifier_free_batched",
    "classifier_free_log_density",
    "classifier_guidance",
    "classifier_guided_log_density",
    "compose",
    "dps",
    "dynamic_threshold",
    "frequency_decoupled",
    "init_denoiser_state",
    "interval",
    "log_product",
    "mmps",
    "negative",
    "operators",
    "pigdm",
    "predict",
    "replacement",
    "rescale",
    "rule",
    "sequences",
    "static_threshold",
    "tangential",
    "temperature",
    "weight_schedule",
    "windowed",
    "windows",
    "with_state",
]

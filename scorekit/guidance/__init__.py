"""Guidance: pure functions from denoisers to denoisers, which compose by nesting.

``dynamic_threshold(interval(classifier_free(cond, uncond, 3.0), cond, schedule), schedule)``. All hyper-parameters are
leaves: changing a scale, a bound or a percentile does not recompile. A guidance scale may be a function of the time.
``docs/guidance.md`` compares the rules.

=========================  ===========================================================================  ========
rule                       effect on ``(x0, eps)``                                                      stateful
=========================  ===========================================================================  ========
``classifier_free``        ``u + gamma (c - u)``; also ``autoguidance``, ``compose``, ``negative``
``classifier_guidance``    adds ``gamma grad log p(y | x_t)`` to the score
``cfg_plus_plus``          x0 of ``classifier_free``, eps of u
``apg``                    the difference orthogonal to ``x0_cond``, bounded in norm, with momentum     optional
``cfg_zero_star``          starts from the closest multiple of u, in velocity
``tangential``             starts from the component of u that c shares
``frequency_decoupled``    a scale for each band of a Laplacian pyramid
``interval``               one denoiser within bounds on the noise level, another outside
``rescale``                restores the standard deviation of the estimate without guidance
``static_threshold``       clips x0; ``dynamic_threshold`` at a percentile
``temperature``            divides the score
``windowed``               blends the predictions for overlapping windows of a longer signal
``replacement``            inserts an observation into x0; also ``dps``, ``pigdm``, ``mmps``
``several_observations``   the posterior given several observations, from the posteriors given one
=========================  ===========================================================================  ========

Every rule that chooses or wraps a denoiser carries :class:`Traits` as ``.traits`` (:func:`guidance_rule`) and takes its
parts by parameter name. Models with an explicit density are guided on the joint, by functions from log-densities to a
log-density (``classifier_free_log_density``, ...); ``scorekit.guidance.sequences`` enumerates discrete sequences.
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
from scorekit.guidance.rules import Traits, branches, guidance_rule, rule
from scorekit.guidance.several_observations import several_observations
from scorekit.guidance.stateful import StatefulDenoiser, init_denoiser_state, predict, with_state
from scorekit.guidance.temperature import temperature
from scorekit.guidance.thresholding import dynamic_threshold, rescale, static_threshold
from scorekit.guidance.weights import weight_schedule
from scorekit.guidance.windows import windowed

__all__ = [
    "StatefulDenoiser",
    "Traits",
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
    "guidance_rule",
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
    "several_observations",
    "static_threshold",
    "tangential",
    "temperature",
    "weight_schedule",
    "windowed",
    "windows",
    "with_state",
]

"""Samplers of training times.

Each sampler is a quantile function ``u in [0, 1) -> t``; drawing is ``t = quantile(u)`` with ``u`` stratified (one
point in each of n equal strata, permuted: the same marginal, far less variance) or independent. :class:`Times` carries
an importance weight. Importance samplers (:func:`uniform_log_snr`, :func:`adaptive`) return the density of
:func:`uniform` on the same range over their own and do not change the objective; samplers that define the objective
(:func:`log_normal_sigma`, :func:`logit_normal`, :func:`band`, :func:`discrete`, :func:`annealed`) return 1.
"""

from scorekit.times.bands import Band, band
from scorekit.times.discrete import Annealed, Discrete, annealed, at_progress, discrete
from scorekit.times.loss_aware import Adaptive, adaptive, update_adaptive
from scorekit.times.samplers import (
    LogitNormal,
    LogNormalSigma,
    Times,
    TimeSampler,
    Uniform,
    UniformLogSNR,
    draw,
    log_normal_sigma,
    logit_normal,
    stratified_uniform,
    uniform,
    uniform_log_snr,
)

__all__ = [
    "Adaptive",
    "Annealed",
    "Band",
    "Discrete",
    "LogNormalSigma",
    "LogitNormal",
    "TimeSampler",
    "Times",
    "Uniform",
    "UniformLogSNR",
    "adaptive",
    "annealed",
    "at_progress",
    "band",
    "discrete",
    "draw",
    "log_normal_sigma",
    "logit_normal",
    "stratified_uniform",
    "uniform",
    "uniform_log_snr",
    "update_adaptive",
]

"""Samplers of training times.

Each sampler is a quantile function ``u in [0, 1) -> t``; drawing is ``t = quantile(u)`` with ``u`` stratified (one
point in each of n equal strata, permuted: the same marginal, far less variance) or independent. :class:`Times` carries
an importance weight. Importance samplers (:class:`UniformLogSNR`, :func:`adaptive`) return the density of
:class:`Uniform` on the same range over their own and do not change the objective; samplers that define the objective
(:class:`LogNormalSigma`, :class:`LogitNormal`, :func:`band`, :func:`discrete`, :func:`annealed`) return 1.
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
    stratified_uniform,
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
    "stratified_uniform",
    "update_adaptive",
]

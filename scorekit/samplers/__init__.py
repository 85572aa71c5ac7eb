"""Samplers: fixed grids, adaptive steps, particles, inversion, editing, Markov chains.

A sampler returns its last state, or a named tuple that has it as ``x``. ``trajectory`` is ``sample`` with the states on
the way; a chain is continued, and its states are kept, by calling it in a scan.
"""

from scorekit.samplers.adaptive import AdaptiveResult, adaptive_ode
from scorekit.samplers.annealing import AnnealedResult, annealed_posterior
from scorekit.samplers.chains import MetropolisResult, corrupt_denoise, langevin, metropolis_langevin, sgld
from scorekit.samplers.editing import sdedit, translate
from scorekit.samplers.few_steps import FewSteps, few_steps
from scorekit.samplers.inversion import invert
from scorekit.samplers.log_prob import LoggedSample, sample_with_log_probs, trajectory_log_probs
from scorekit.samplers.particles import ParticleResult, product_sample, twisted_sample
from scorekit.samplers.recommended import recommended
from scorekit.samplers.repaint import repaint, repaint_path
from scorekit.samplers.resampling import effective_sample_size, log_mean_weight, resample_if_due, systematic_resample
from scorekit.samplers.sampling import nfe, sample, trajectory

__all__ = [
    "AdaptiveResult",
    "AnnealedResult",
    "FewSteps",
    "LoggedSample",
    "MetropolisResult",
    "ParticleResult",
    "adaptive_ode",
    "annealed_posterior",
    "corrupt_denoise",
    "effective_sample_size",
    "few_steps",
    "invert",
    "langevin",
    "log_mean_weight",
    "metropolis_langevin",
    "nfe",
    "product_sample",
    "recommended",
    "repaint",
    "repaint_path",
    "resample_if_due",
    "sample",
    "sample_with_log_probs",
    "sdedit",
    "sgld",
    "systematic_resample",
    "trajectory",
    "trajectory_log_probs",
    "translate",
    "twisted_sample",
]

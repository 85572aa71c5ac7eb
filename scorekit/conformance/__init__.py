"""Exact problems, and checks of anyone's schedule, loss, sampler, likelihood, posterior sampler or metric."""

from scorekit.conformance.levy import LEVY_LAWS, LevySignals, gibbs, levy
from scorekit.conformance.problems import Chain, Mixture, Problem, chain, gaussian, mixture, ring

__all__ = ["Chain", "Mixture", "Problem", "chain", "gaussian", "mixture", "ring"]
__all__ += ["LEVY_LAWS", "LevySignals", "gibbs", "levy"]

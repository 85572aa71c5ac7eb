"""Discrete diffusion: tokens that are masked or drawn anew, in the nouns of the continuous theory.

``q(z_t | x0) = alpha(t) [z_t = x0] + sigma(t) pi(z_t)``, pi the mask or uniform. A :class:`Process` is a kind of noise
and a schedule; a denoiser is the posterior of every clean token, ``(z_t, t) -> log p(x_i | z_t)``; the loss is the
variational bound; a solver takes steps from t to ``s < t`` (``row``, ``init``, ``step``). ``docs/discrete.md`` shows
them together.
"""

from scorekit.discrete import schedules
from scorekit.discrete.denoisers import TokenDenoiser, denoiser_from_network, exact_denoiser
from scorekit.discrete.guidance import RateDenoiser, classifier_free, classifier_guidance, rate_guidance
from scorekit.discrete.losses import (
    TokenLossAux,
    discrete_variational_bound,
    token_loss,
    token_loss_at,
    variational_bound,
)
from scorekit.discrete.process import Process, absorbing, perturb, posterior, sample_prior, uniform
from scorekit.discrete.sampling import first_hitting_sample, sample, trajectory
from scorekit.discrete.solvers import (
    Ancestral,
    ConfidenceOrdered,
    PredictorCorrector,
    Remasking,
    TauLeaping,
    TokenSolver,
)

__all__ = [
    "Ancestral",
    "ConfidenceOrdered",
    "PredictorCorrector",
    "Process",
    "RateDenoiser",
    "Remasking",
    "TauLeaping",
    "TokenDenoiser",
    "TokenLossAux",
    "TokenSolver",
    "absorbing",
    "classifier_free",
    "classifier_guidance",
    "denoiser_from_network",
    "discrete_variational_bound",
    "exact_denoiser",
    "first_hitting_sample",
    "perturb",
    "posterior",
    "rate_guidance",
    "sample",
    "sample_prior",
    "schedules",
    "token_loss",
    "token_loss_at",
    "trajectory",
    "uniform",
    "variational_bound",
]

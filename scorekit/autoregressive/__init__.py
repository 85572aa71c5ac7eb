"""Autoregressive models as explicit densities: ``p(x) = prod_i p(x_i | x_<i)`` of codes or of continuous values.

A :class:`SequenceModel` gives the parameters of all conditionals at once (``outputs``), for exact likelihoods, or one
after the other from a cached state (``init_state``, ``step``), for sampling. A :class:`Conditional` says what they
mean: :class:`Categorical`, :class:`LogisticMixture`, :class:`Normal`. :func:`model_from_network` makes a model of a
:class:`scorekit.networks.CausalWaveNet`, ``CausalTransformer`` or ``TieredNetwork``; :func:`ar_process`,
:func:`gaussian_sequence` and :func:`markov_chain` are exact. :func:`density_distillation_loss` trains a model that
draws all positions at once to imitate one of these models. ``docs/autoregressive.md`` shows them together.
"""

from scorekit.autoregressive.conditionals import Categorical, Conditional, LogisticMixture, Normal
from scorekit.autoregressive.decoding import BayesDecision, Beams, beam_search, hamming_agreement, minimum_bayes_risk
from scorekit.autoregressive.distillation import density_distillation_loss
from scorekit.autoregressive.exact import (
    ARProcess,
    GaussianSequence,
    MarkovChain,
    ar_process,
    gaussian_sequence,
    log_prob_table,
    markov_chain,
)
from scorekit.autoregressive.guidance import GuidedModel, classifier_free
from scorekit.autoregressive.likelihoods import bits_per_sample, log_prob, position_log_probs
from scorekit.autoregressive.models import NetworkModel, SequenceModel, model_from_network
from scorekit.autoregressive.particles import sample_joint
from scorekit.autoregressive.sampling import sample
from scorekit.autoregressive.smoothing import condition_on_noise, smoothed_log_density, smoothed_loss
from scorekit.autoregressive.truncation import nucleus, temperature, top_k, typical

__all__ = [
    "ARProcess",
    "BayesDecision",
    "Beams",
    "Categorical",
    "Conditional",
    "GaussianSequence",
    "GuidedModel",
    "LogisticMixture",
    "MarkovChain",
    "NetworkModel",
    "Normal",
    "SequenceModel",
    "ar_process",
    "beam_search",
    "bits_per_sample",
    "classifier_free",
    "condition_on_noise",
    "density_distillation_loss",
    "gaussian_sequence",
    "hamming_agreement",
    "log_prob",
    "log_prob_table",
    "markov_chain",
    "minimum_bayes_risk",
    "model_from_network",
    "nucleus",
    "position_log_probs",
    "sample",
    "sample_joint",
    "smoothed_log_density",
    "smoothed_loss",
    "temperature",
    "top_k",
    "typical",
]

"""Calls of functions of a batch ``x (2, 3)``, ``t (2,)`` or labels, beyond :mod:`valid_calls`, for ``test_meshes``."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import autoregressive as ar
from scorekit import (
    denoisers,
    densities,
    flow_maps,
    guidance,
    interpolants,
    likelihood,
    losses,
    predictions,
    process,
    samplers,
    schedules,
    solvers,
    weightings,
)
from scorekit.flow_maps.progressive import Steps
from scorekit.guidance import operators
from scorekit.losses import score_matching
from scorekit.typing import Prediction

KEY, SCHEDULE, TS = jax.random.key(0), schedules.Cosine(), np.array([1.0, 0.5, 0.1], np.float32)
NORMAL = densities.gaussian(np.zeros(3, np.float32), std=1.0)
EXACT = denoisers.exact_denoiser(NORMAL, SCHEDULE)
ANCESTRAL, MAP = solvers.Ancestral(), flow_maps.exact_map(NORMAL, SCHEDULE)


def halved(x, t, s=0.0):
    return Prediction(0.5 * x, x)


def log_density(x):
    return -0.5 * jnp.sum(jnp.square(x), axis=-1)


def shifted(x, t):
    return 0.1 * x


def shifted_only(x):
    return -0.5 * x


def pair(x):
    return Prediction(x, x)


CALLS = {
    "predictions.with_x0": lambda x, t: predictions.with_x0(SCHEDULE, pair(x), 0.5 * x, t),
    "process.score": lambda x, t: process.score(SCHEDULE, pair(x), t),
    "process.sample_prior": lambda x: process.sample_prior(KEY, SCHEDULE, x),
    "weightings.per_log_snr": lambda t: weightings.per_log_snr(weightings.eps, SCHEDULE)(t),
    "denoisers.scale_input": lambda x, t: denoisers.scale_input(shifted, SCHEDULE, 0.5)(x, t),
    "denoisers.score_from_log_density": lambda x: denoisers.score_from_log_density(lambda x, t: log_density(x))(x, 0.5),
    "losses.classification_loss": lambda x, labels: losses.classification_loss(KEY, shifted, SCHEDULE, x, labels),
    "losses.implicit": lambda x: score_matching.implicit_loss(shifted_only, x),
    "losses.sliced": lambda x: score_matching.sliced_loss(KEY, shifted_only, x),
    "losses.finite_difference": lambda x: score_matching.finite_difference_loss(KEY, log_density, x),
    "losses.contractive": lambda x: score_matching.contractive_loss(shifted_only, x, 0.1),
    "guidance.compose": lambda x, t: guidance.compose(EXACT, [halved], [2.0])(x, t),
    "guidance.cfg_plus_plus": lambda x, t: guidance.cfg_plus_plus(halved, EXACT, 0.5)(x, t),
    "guidance.adjoint": lambda x: operators.adjoint(lambda x: 2.0 * x, x)(x),
    "guidance.windowed": lambda x, t: guidance.windowed(halved, 2, 1)(x[..., None], t),
    "guidance.log_product": lambda x: guidance.log_product((2.0, log_density))(x),
    "samplers.sample": lambda x: samplers.sample(EXACT, SCHEDULE, solvers.Heun(), x, TS),
    "samplers.adaptive_ode": lambda x: samplers.adaptive_ode(EXACT, SCHEDULE, x, rtol=0.1, atol=0.1),
    "samplers.langevin": lambda x: samplers.langevin(KEY, jnp.negative, x, 0.1, 2),
    "samplers.metropolis_langevin": lambda x: samplers.metropolis_langevin(KEY, log_density, x, 0.1, 2),
    "samplers.sgld": lambda x: samplers.sgld(KEY, lambda key, x: -x, x, np.full(2, 0.1, np.float32)),
    "samplers.sample_with_log_probs": lambda x: samplers.sample_with_log_probs(KEY, EXACT, SCHEDULE, ANCESTRAL, x, TS),
    "samplers.twisted_sample": lambda x: samplers.twisted_sample(KEY, EXACT, SCHEDULE, ANCESTRAL, x, TS, log_density),
    "samplers.product_sample": lambda x: samplers.product_sample(
        KEY, EXACT, SCHEDULE, ANCESTRAL, x, TS, [halved], [2.0]
    ),
    "samplers.annealed_posterior": lambda x: samplers.annealed_posterior(
        KEY, EXACT, SCHEDULE, solvers.DPMSolverPP2M(), x, [1.0, 0.5, 0.0], lambda x: x, jnp.ones(3), 0.5, num_stages=2
    ),
    "likelihood.score_density": lambda x: likelihood.score_density(EXACT, SCHEDULE, event_shape=(3,)).score(x),
    "flow_maps.exact_map": lambda x, t: MAP(x, t, 0.5 * t),
    "flow_maps.exact_log_det": lambda x, t: flow_maps.exact_log_det(NORMAL, SCHEDULE, steps=2)(x, t, 0.5 * t),
    "flow_maps.consistency_training_loss": lambda x, t: flow_maps.consistency_training_loss(
        lambda x, t: pair(x), lambda x, t: pair(0.5 * x), SCHEDULE, x, x, t, 0.5 * t
    ),
    "flow_maps.consistency_distillation_loss": lambda x, t: flow_maps.consistency_distillation_loss(
        lambda x, t: pair(x), lambda x, t: pair(0.5 * x), EXACT, SCHEDULE, x, x, t, 0.5 * t
    ),
    "flow_maps.progressive_loss": lambda x, t: flow_maps.progressive_loss(
        shifted, EXACT, SCHEDULE, x, x, Steps(t, 0.75 * t, 0.5 * t)
    ),
    "flow_maps.gradient_penalty": lambda x: flow_maps.gradient_penalty(log_density, x),
    "flow_maps.adaptive_weighted": lambda t: flow_maps.adaptive_weighted(t, t),
    "flow_maps.feature_matching_loss": lambda x: flow_maps.feature_matching_loss(x, 0.5 * x),
    "autoregressive.temperature": lambda x: ar.temperature(x, 2.0),
    "autoregressive.minimum_bayes_risk": lambda labels: ar.minimum_bayes_risk(labels[:, None], labels[:, None]),
    "autoregressive.top_k": lambda x: (ar.top_k(x, 2), ar.nucleus(x, 0.5), ar.typical(x, 0.5)),
    "autoregressive.hamming_agreement": lambda labels: ar.hamming_agreement(labels[:, None], labels[:, None]),
    "interpolants.bridge_noise": lambda x, t: interpolants.bridge_noise(
        interpolants.brownian_schedule(), x, 0.5 * x, x, t
    ),
    "densities.log_density": lambda x: NORMAL.log_density(x),
}

"""Likelihoods name arguments with which the value would be of another quantity."""

import jax
import jax.numpy as jnp
import numpy as np
from errors import raising

from scorekit import denoisers, densities, likelihood, schedules
from scorekit.typing import Prediction

KEY, COSINE = jax.random.key(0), schedules.Cosine()
NORMAL = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), std=1.0), COSINE)


def same(x, t):
    return Prediction(x, x)


def exact(key=None, **options):
    return lambda: likelihood.log_likelihood(same, COSINE, jnp.zeros((2, 2)), key=key, **options)


def bound(**options):
    return lambda: likelihood.variational_bound(KEY, same, COSINE, jnp.zeros((2, 1)), **options)


def discrete_bound(ts):
    return lambda: likelihood.discrete_variational_bound(KEY, same, COSINE, jnp.zeros((2, 1)), ts)


def scored(schedule=COSINE, noise_std=None, **options):
    noise = {} if noise_std is None else {"noise_std": noise_std}
    return likelihood.score_density(NORMAL, schedule, (2,), **noise, **options)


test_errors_name_the_argument = raising(
    [
        ("bins must", lambda: likelihood.bits_per_dim(jnp.zeros(2), 3, bins=256)),
        ("bins must", lambda: likelihood.bits_per_dim(jnp.zeros(2), 3, dequantisation="uniform")),
        ("t_max must", bound(t_min=0.9, t_max=0.1)),
        (r"log_snr\(t_min\) must", bound(t_min=0.0)),
        ("ts must", discrete_bound([0.5])),
        ("ts must", discrete_bound([0.1, 0.5])),
        (r"log_snr\(ts\[-1\]\) must", discrete_bound([0.5, 0.0])),
        ("key must", exact(divergence="gaussian")),
        ("num_probes must", exact(KEY, divergence="hutch++", num_probes=2)),
        ("rtol must", exact(rtol=1e-9)),
        ("t_max must", exact(t_min=0.5, t_max=0.4)),
        ("ts must", exact(ts=[0.5])),
        ("ts must", exact(ts=[0.1, 0.5])),
        ("noise_std must", lambda: scored(schedules.EDM(), 0.001)),
        ("noise_std must", lambda: scored(noise_std=2.0, t_max=0.5)),
        ("x must", lambda: scored().log_density(jnp.ones((2, 3)))),
        ("key must", lambda: likelihood.flow_density(NORMAL, COSINE, (2,), divergence="rademacher")),
        ("x must", lambda: likelihood.flow_density(NORMAL, COSINE, (2,)).log_density(jnp.array([np.nan, 0.0]))),
        ("start must", lambda: likelihood.line_density(NORMAL, COSINE, (2,), start=jnp.zeros(3))),
    ]
)

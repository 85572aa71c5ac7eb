"""A model of digits with an exact denoiser: one Gaussian."""

import jax
import numpy as np
import pytest

from experiments.configs import base
from experiments.data import build
from experiments.projects.ood.model import ScoredModel, first_time
from scorekit import denoisers, densities, schedules


@pytest.fixture(scope="session")
def digits():
    """8 x 8 digits."""
    return build(base.get_config())


@pytest.fixture(scope="session")
def exact(digits):
    """A Gaussian fitted to the digits."""
    x = np.asarray(digits.to_model(digits.train["x"])).reshape(len(digits.train["x"]), -1)
    density, schedule = densities.fit_gaussian(x, 40, 0.05), schedules.Cosine()
    t_min = first_time(schedule, digits.bins)
    of_flat, flat = denoisers.exact_denoiser(density, schedule), lambda x: x.reshape(len(x), -1)
    denoiser = lambda x_t, t: jax.tree.map(lambda leaf: leaf.reshape(x_t.shape), of_flat(flat(x_t), t))
    noisy = density.marginal(schedule.alpha(t_min), schedule.sigma(t_min))
    return ScoredModel(denoiser, schedule, t_min, lambda key, x_t: noisy.log_density(flat(x_t)))

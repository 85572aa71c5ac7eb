"""A small model of points and a teacher of students."""

import jax
import jax.numpy as jnp
import pytest
from parameters import random_params

from experiments import data
from experiments.configs.points import mixture_2d
from experiments.models.guidance import NO_EXTRAS
from experiments.models.model import build_model
from experiments.models.runs import Run


@pytest.fixture
def ring_config():
    """Its config, to change."""
    config = mixture_2d.get_config()
    config.network.update(features=8, blocks=1)
    config.sampling.batch_size = 16
    return config


@pytest.fixture(scope="session")
def teacher():
    """A run of it with random parameters."""
    config = mixture_2d.get_config()
    config.network.update(features=8, blocks=1)
    dataset = data.build(config)
    model = build_model(config, dataset)
    return Run(dataset, model, None, jax.tree.map(jnp.asarray, random_params(model)), 0, NO_EXTRAS)

"""Programs in this process, each with its own flags, and runs that tests share."""

import importlib
import sys

import jax
import jax.numpy as jnp
import pytest
from parameters import random_params
from programs import save_untrained, separate_flags

from experiments import data
from experiments.configs.images import smoke
from experiments.configs.points import mixture_2d
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.guidance import NO_EXTRAS
from experiments.tasks.task import Run


@pytest.fixture
def load_program(monkeypatch):
    """Imports a program of ``experiments`` anew, with the flags of all others put aside."""
    loaded = []

    def load(name):
        monkeypatch.delitem(sys.modules, name, raising=False)
        loaded.append(name)
        return importlib.import_module(name)

    with separate_flags():
        yield load
        for name in loaded:
            sys.modules.pop(name, None)


@pytest.fixture
def no_data(monkeypatch):
    """Building data is an error that no program catches."""
    monkeypatch.setattr(data, "build", lambda config: pytest.fail("data were built"))


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """The run of a smaller smoke config with random parameters; copy it to change it."""
    config = smoke.get_config()
    config.network.update(multipliers=(1,), blocks=1, attention_resolutions=())
    return save_untrained(tmp_path_factory.mktemp("digits") / "run", config, step=6)


@pytest.fixture(scope="session")
def ring_run(tmp_path_factory):
    """The run of a small model of points with random parameters; copy it to change it."""
    config = mixture_2d.get_config()
    config.network.update(features=8, blocks=1)
    config.sampling.update(guidance_scale=1.5)
    return save_untrained(tmp_path_factory.mktemp("ring") / "run", config)


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

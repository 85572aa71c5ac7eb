"""The recipes of published results: valid, of the published sizes and values, with the loss that they must start at."""

import dataclasses
import importlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configs import published
from experiments.data.images import ImageSet
from experiments.data.sources import Arrays
from experiments.models import choices
from experiments.planning.described import describe
from experiments.tasks.diffusion import checks, objectives
from experiments.tasks.diffusion.build import build_model, build_schedule, make_sampler
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from scorekit.io.preconditioning import precondition

LOG_SNR_RANGE = 13.3 + 5.0


@dataclasses.dataclass
class Recipe:
    """What the publication says, by the source that the docstring of the recipe names.

    ``parameters`` are those of the published network (of VDM, of ours), ``added`` what ours has more: for classes that
    are not used or a null label, less what it leaves out. ``images`` are those seen in training.
    """

    parameters: int
    added: int
    learning_rate: float
    batch: int
    images: float
    average: float | tuple[float, ...]
    dropout: float
    loss: float
    std: float = 0.5
    shape: tuple[int, ...] = (32, 32, 3)


SCORE_SDE: dict[str, Any] = {
    "learning_rate": 2e-4,
    "batch": 128,
    "images": 1_300_000 * 128,
    "dropout": 0.1,
    "loss": 1.0,
}
DDPMPP: dict[str, Any] = {"parameters": 61_804_419, "added": 1408}
NCSNPP: dict[str, Any] = {"parameters": 62_758_787, "added": 2816}
IMAGENET_64: dict[str, Any] = {"shape": (64, 64, 3)}
LATENTS_512: dict[str, Any] = {"shape": (64, 64, 4), "std": 1.0}
EDM2_S: dict[str, Any] = {
    "parameters": 280_200_000,
    "learning_rate": 0.01,
    "batch": 2048,
    "average": (0.05, 0.1),
    "dropout": 0.0,
}
RECIPES = {
    "cifar10_vp": Recipe(**DDPMPP, **SCORE_SDE, average=0.9999),
    "cifar10_vp:sub_vp": Recipe(**DDPMPP, **SCORE_SDE, average=0.9999),
    "cifar10_ve": Recipe(**NCSNPP, **SCORE_SDE, average=0.999),
    "cifar10_edm": Recipe(55_733_891, 1408, 1e-3, 512, 200e6, 0.5 ** (512 / 500e3), 0.13, 1.0),
    "cifar10_flow_matching": Recipe(**DDPMPP, **{**SCORE_SDE, "dropout": 0.15, "loss": 1.0 + 0.5**2}, average=0.999999),
    "cifar10_vdm": Recipe(30_577_667, 5632, 2e-4, 128, 10e6 * 128, 0.9999, 0.0, LOG_SNR_RANGE / 2),
    "imagenet64_adm": Recipe(
        295_904_454, 768 - 27 * 192 - 3, 3e-4, 2048, 540e3 * 2048, 0.9999, 0.1, 1.0, **IMAGENET_64
    ),
    "imagenet64_edm": Recipe(295_899_267, 768, 1e-4, 4096, 2500e6, 0.5 ** (4096 / 50e6), 0.1, 1.0, **IMAGENET_64),
    "imagenet64_edm2_s": Recipe(**EDM2_S, added=0, images=2**30, loss=1.0, **IMAGENET_64),
    "imagenet512_edm2_s": Recipe(**EDM2_S, added=0, images=2**31, loss=1.0, **LATENTS_512),
    "imagenet256_dit": Recipe(
        675_129_632, -256 * 1152 - 16 * 1153, 1e-4, 256, 7e6 * 256, 0.9999, 0.0, 1.0, std=1.0, shape=(32, 32, 4)
    ),
}
FAST = ("cifar10_edm", "imagenet256_dit")
"""The recipes whose checks that compile or trace a network are among the fast tests."""
ALL = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in RECIPES]


class Noise(ImageSet):
    """Normal data as the network receives them."""

    def __init__(self, shape, num_classes, std, size=2):
        x = std * np.random.default_rng(0).normal(size=(size, *shape)).astype(np.float32)
        x *= std / np.sqrt(np.mean(x**2))
        self._source = Arrays("noise", 256, x, np.arange(size) % num_classes, num_classes)
        super().__init__()

    def open(self):
        return self._source, self._source

    def to_model(self, x):
        return jnp.asarray(x)


def config_of(name):
    file, *argument = name.split(":")
    return importlib.import_module(f"experiments.configs.published.{file}").get_config(*argument)


def test_every_recipe_is_here():
    assert {path.stem for path in Path(published.__file__).parent.glob("[!_]*.py")} == {
        name.split(":")[0] for name in RECIPES
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_trained_and_evaluated(name):
    """Beyond what every config is checked for (test_every_config.py)."""
    config = config_of(name)
    checks.check_trainable(config)
    checks.check_evaluation(config, describe(config), checks.build(config, describe(config)))


@pytest.mark.parametrize("name", RECIPES)
def test_training_is_as_published(name):
    config, recipe = config_of(name), RECIPES[name]
    options = config.training
    assert options.learning_rate == recipe.learning_rate
    assert options.batch_size == recipe.batch
    assert options.steps * options.batch_size == pytest.approx(recipe.images, rel=1e-5)
    if isinstance(recipe.average, tuple):
        assert options.power_ema == recipe.average
    else:
        assert 1 - options.ema_decays[0] == pytest.approx(1 - recipe.average, rel=0.01)
    assert (config.network.get("dropout") or 0.0) == recipe.dropout
    assert options.decay_start or options.final_fraction == 1.0


@pytest.mark.parametrize("name", ALL)
def test_networks_have_the_published_number_of_parameters(name):
    recipe = RECIPES[name]
    config, edm2 = config_of(name), "edm2" in name
    module = build_model(config, Noise(recipe.shape, 10 if "cifar" in name else 1000, 1.0)).module
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *recipe.shape)), 0.0)["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert (round(count, -5) if edm2 else count) == recipe.parameters + recipe.added


class Zero(nn.Module):
    """What every network is at initialisation (tests/networks/test_denoising_networks.py)."""

    @nn.compact
    def __call__(self, x, noise, labels=None, vector=None, dense_map=None):
        return jnp.zeros_like(x)


def untrained(config, recipe, size):
    """The model of a recipe on small data, without the log-variance of the loss, which starts at random, and with the
    initial schedule, whose loss has no terms at its ends."""
    dataset = Noise((4, 4, recipe.shape[-1]), 10, recipe.std, size)
    model = build_model(config, dataset)
    objective = objectives.Denoising(
        choices.TIMES.build(config, "loss.times"),
        choices.WEIGHTINGS.build(config, "loss.weighting", schedule=model.schedule),
    )
    return dataset, replace(model, log_variance=None, objective=objective)


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_at_initialisation_has_its_analytic_value(name):
    """To four standard errors of the mean of the squares of all normal values."""
    recipe, config = RECIPES[name], config_of(name)
    dataset, model = untrained(config, recipe, 1024)
    batch = make_prepare(model, dataset)(jax.random.key(0), dataset.train)
    losses, _ = make_loss(replace(model, module=Zero()))({}, batch)
    assert float(losses.mean()) == pytest.approx(recipe.loss, rel=4 * math.sqrt(2 / dataset.train["x"].size))


class OfNormalData(nn.Module):
    """The negative noise of data ``N(0, std^2)`` at ``x_t = x0 + sigma eps``, called with ``log(sigma / 2)``."""

    std: float

    @nn.compact
    def __call__(self, x, noise, labels=None, vector=None, dense_map=None):
        sigma = 2.0 * jnp.exp(jnp.reshape(noise, (-1, 1, 1, 1)))
        return -sigma * x / (sigma**2 + self.std**2)


@pytest.mark.slow
def test_samples_of_the_variance_exploding_recipe_are_denoised_at_the_end():
    """They are the clean estimates of the samples that keep the noise of sigma = 0.02."""
    config, std = config_of("cifar10_ve"), 0.05
    config.sampling.steps = 30
    config.sampling.solver.norms = "expected"
    dataset, model = untrained(config, RECIPES["cifar10_ve"], 8)
    dataset.from_model = lambda x, conditions=None: x
    model, labels = replace(model, module=OfNormalData(std)), np.zeros(100, np.int32)
    denoised = make_sampler(config, model, dataset)({}, 0, labels, 0.0)
    config.sampling.denoise = None
    noisy = make_sampler(config, model, dataset)({}, 0, labels, 0.0)
    np.testing.assert_allclose(denoised, noisy * std**2 / (std**2 + 0.02**2), rtol=1e-4, atol=1e-6)
    assert noisy.std() > 1.1 * denoised.std()


def test_noise_enters_the_networks_as_published():
    schedule = lambda name: build_schedule(config_of(name))
    given = lambda name, log_snr: float(
        choices.NOISE_INPUTS.build(config_of(name), "preconditioning.noise", schedule=schedule(name))(log_snr)
    )
    at = lambda name, t: schedule(name).log_snr(t)
    of_sigma = lambda sigma: -2 * math.log(sigma)
    for name in ("cifar10_vp", "cifar10_vp:sub_vp", "cifar10_flow_matching"):
        assert given(name, at(name, 0.25)) == pytest.approx(999 / 4, rel=1e-4)
    assert given("cifar10_ve", of_sigma(100.0)) == pytest.approx(math.log(50.0))
    for name in ("cifar10_edm", "imagenet64_edm", "imagenet64_edm2_s"):
        assert given(name, of_sigma(80.0)) == pytest.approx(math.log(80.0) / 4)
    for name in ("cifar10_edm", "imagenet64_edm", "imagenet64_edm2_s", "imagenet512_edm2_s"):
        config = config_of(name)
        parts = config.preconditioning, config.loss.target, config.loss.weighting
        assert {part.sigma_data for part in parts} == {RECIPES[name].std}
    assert given("imagenet512_edm2_s", of_sigma(2 * 80.0)) == pytest.approx(math.log(80.0) / 4)
    for name in ("imagenet64_adm", "imagenet256_dit"):  # the index in the table of betas is 1,000 t - 1
        assert given(name, at(name, 0.5)) == pytest.approx(499.0, abs=1.0)
        assert given(name, at(name, 1e-3)) == pytest.approx(0.0, abs=0.5)


def test_latents_of_twice_the_scale_are_the_same_problem():
    """The network of EDM2 for latents receives and predicts what it would for those of standard deviation 0.5."""
    double, single = config_of("imagenet512_edm2_s"), config_of("imagenet64_edm2_s")
    network = lambda x, c_noise: x + c_noise.reshape(-1, 1)
    x, sigma = jnp.array([[0.3, -0.7]]), 1.7
    found = []
    for config, scale in ((double, 2.0), (single, 1.0)):
        dataset = Noise((8, 8, 4), 10, 1.0)
        model = build_model(config, dataset)
        t = model.schedule.time_at(jnp.array([-2 * math.log(scale * sigma)]))
        output = precondition(network, model.preconditioning)(scale * x, t)
        prediction = model.target.to_prediction(output, scale * x, t, model.schedule)
        found.append((output, prediction.x0 / scale, prediction.eps))
    np.testing.assert_allclose(*[np.concatenate(values) for values in found], rtol=1e-4, atol=1e-5)
    assert double.loss.times.mean - math.log(2.0) == pytest.approx(-0.4)
    assert double.schedule.sigma_max == 2 * (single.schedule.sigma_max or 80.0)

"""The configs of hierarchies at their full size, as shapes only, and shrunk through a step of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_like, random_params

from experiments import data
from experiments.configs.latents import phrases_latent, phrases_of_latents
from experiments.configs.phrases import phrases_1khz, phrases_4khz
from experiments.data import conditions
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import build_model, build_network
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.latents import model as autoencoder
from experiments.tasks.latents.model import AUTOENCODERS

SECONDS = 4.096
ARGUMENTS = {"": 4000, "16khz": 16000}  # and the sample rate
STAGES = {"1 kHz": (phrases_1khz, ()), "4 kHz": (phrases_4khz, ()), "16 kHz": (phrases_4khz, ("16khz",))}


def gradient_is_finite(prepare, loss, params, batch):
    @jax.jit
    def gradient(params, batch):
        return jax.grad(lambda p: loss(p, prepare(jax.random.key(0), batch))[0].mean())(params)

    found = [np.asarray(leaf) for leaf in jax.tree.leaves(gradient(params, batch))]
    return all(np.isfinite(leaf).all() for leaf in found) and any(leaf.any() for leaf in found)


@pytest.mark.slow
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_autoencoders_have_their_latent_shape_and_a_finite_gradient(argument):
    config, rate = phrases_latent.get_config(argument), ARGUMENTS[argument]
    module = AUTOENCODERS.build(config, "autoencoder", data_channels=1)
    x = jax.ShapeDtypeStruct((1, round(SECONDS * rate), 1), jnp.float32)
    z, _ = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x, method="encode"), x)
    assert z.shape == (1, 256, config.autoencoder.latent_channels)
    assert rate / module.stride == 62.5
    config.autoencoder.channels, config.autoencoder.blocks, config.data.crop = 4, 1, 2048
    dataset = data.build(config)
    built = autoencoder.build_latent(config, dataset)
    params = random_like(jax.eval_shape(built.module.init, jax.random.key(0), jnp.zeros((1, *dataset.shape))))
    prepare, loss = autoencoder.make_prepare(built), autoencoder.make_loss(built)
    assert gradient_is_finite(prepare, loss, params, {"x": dataset.train["x"]})


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_priors_keep_the_shape_of_their_latents(argument):
    config, own = phrases_of_latents.get_config(argument), phrases_latent.get_config(argument)
    checks.build(config, data.build(config))
    assert config.data.name == own.data.name
    assert config.data.representation.to_dict() == own.data.representation.to_dict()
    network = build_network(config, 74)
    z = jax.ShapeDtypeStruct((1, 256, own.autoencoder.latent_channels), jnp.float32)
    out, _ = jax.eval_shape(lambda z: network.init_with_output(jax.random.key(0), z, 0.0), z)
    assert out.shape == z.shape


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_stages_of_a_cascade_keep_their_shape_and_have_a_finite_gradient(name):
    made, argument = STAGES[name]
    config = made.get_config(*argument)
    checks.build(config, data.build(config))
    config.data.crop, full = None, config.data.crop
    dataset = data.build(config)
    extracts = data.build_conditions(config, dataset)
    sizes = conditions.sizes(extracts, dataset)
    if name == "1 kHz":
        assert dataset.shape == (4096, 1)
    else:
        assert sizes["map_shape"] == (dataset.shape[0] // 4, 1)
        sizes["map_shape"] = (dataset.shape[0] // 4, 2)
        config.data.crop = 2048
        assert full % 2048 == 0
        config.network.update(layers=2, cycle=2)
    network = build_network(config, 74, **sizes)
    x = jax.ShapeDtypeStruct((1, *dataset.shape), jnp.float32)
    out, _ = jax.eval_shape(lambda x: network.init_with_output(jax.random.key(0), x, 0.0), x)
    assert out.shape == x.shape
    config.network.channels = 4
    if name == "1 kHz":
        config.network.update(heads=1, attention_resolutions=())
        config.data.crop = 2048
    small = data.build(config)
    built = build_model(config, small)
    params = random_params(built)
    assert gradient_is_finite(make_prepare(built, small), make_loss(built), params, small.batch(0, 0, 2))

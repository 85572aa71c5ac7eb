"""Layouts of diffusers: outputs of its networks at random parameters, published sizes, and configs that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors

from scorekit.io.formats import autoencoder_kl, ddpm
from scorekit.io.formats._diffusers import NEW_ATTENTION, OLD_ATTENTION
from scorekit.io.tensors import Tensors
from scorekit.networks import AutoencoderKL, DDPMUNet


def error(a, b):
    """The largest difference, relative to the largest value."""
    return float(np.max(np.abs(np.asarray(a) - b)) / np.max(np.abs(b)))


@pytest.fixture(scope="module", params=["quant", "plain"])
def autoencoder(request):
    """Arrays of a golden file, the network with its parameters, and its moments and reconstruction."""
    named, about, arrays = random_tensors.load("autoencoder_kl")
    tensors, name = Tensors(named).under(request.param), request.param
    network, params = autoencoder_kl.convert(tensors, **autoencoder_kl.attributes(about["config"][name]))
    arrays = {k.removeprefix(f"{name}_"): v for k, v in arrays.items() if k.startswith(name)}
    return network, params, arrays


@pytest.mark.slow
def test_moments_latents_and_reconstructions_of_an_autoencoder(autoencoder):
    network, params, arrays = autoencoder

    @jax.jit
    def run(x, mean):
        posterior = network.apply(params, x, method="posterior")
        return *posterior, network.apply(params, network.scale(mean), method="decode")

    mean, log_variance, decoded = run(arrays["x"], arrays["mean"])
    assert error(mean, arrays["mean"]) < 1e-5
    assert error(log_variance, arrays["log_variance"]) < 1e-5
    assert error(decoded, arrays["decoded"]) < 1e-5


def test_old_names_of_attention_are_read():
    named, *_ = random_tensors.load("autoencoder_kl")
    renamed = {}
    for name, value in named.items():
        for part, theirs in NEW_ATTENTION.items():
            name = name.replace(f".{theirs}.", f".{OLD_ATTENTION[part]}.")
        renamed[name] = value
    assert renamed.keys() != named.keys()
    found = [autoencoder_kl.convert(Tensors(n).under("quant"), scaling_factor=1.0, groups=4) for n in (named, renamed)]
    assert found[0][0] == found[1][0]
    jax.tree.map(np.testing.assert_array_equal, found[0][1], found[1][1])


@pytest.mark.slow
def test_outputs_of_the_unet_of_ddpm():
    named, about, arrays = random_tensors.load("ddpm")
    assert ddpm.recognises(named)
    assert not autoencoder_kl.recognises(named)
    network, params = ddpm.convert(Tensors(named), **ddpm.attributes(about["config"]))
    inputs = arrays["x"], arrays["timesteps"], arrays["labels"]
    assert error(jax.jit(network.apply)(params, *inputs), arrays["y"]) < 1e-5


def test_tensors_that_are_missing_or_left_over_are_named():
    named, about, _ = random_tensors.load("ddpm")
    sizes = ddpm.attributes(about["config"])
    with pytest.raises(ValueError, match=r"does not use: extra"):
        ddpm.convert(Tensors({**named, "extra": np.ones(1)}), **sizes)
    gone = {name: value for name, value in named.items() if name != "mid_block.resnets.1.conv2.bias"}
    with pytest.raises(ValueError, match=r"\['middle_1'\]\['conv_2'\]\['bias'\] is missing"):
        ddpm.convert(Tensors(gone), **sizes)


@pytest.mark.parametrize(
    ("layout", "config", "message"),
    [
        (ddpm, {}, r"config.json: attention_head_dim must be None, got 8"),
        (ddpm, {"attention_head_dim": None}, r"downsample_padding must be 0, got 1"),
        (autoencoder_kl, {"mid_block_add_attention": False}, r"mid_block_add_attention must be True, got False"),
        (autoencoder_kl, {"up_block_types": ["AttnUpBlock2D"]}, r"must be \['UpDecoderBlock2D'\], got"),
    ],
)
def test_configs_of_other_networks_are_an_error(layout, config, message):
    with pytest.raises(ValueError, match=message):
        layout.attributes(config)


PUBLISHED = {
    (AutoencoderKL, "sd-vae-ft"): 83_653_863,
    (AutoencoderKL, "sd3"): 83_819_683,
    (DDPMUNet, "cifar10"): 35_746_307,
    (DDPMUNet, "celebahq-256"): 113_673_219,
}


@pytest.mark.parametrize(("network", "name"), PUBLISHED, ids=lambda value: getattr(value, "__name__", value))
def test_presets_have_the_published_number_of_parameters(network, name):
    inputs = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32), *([0.0] if network is DDPMUNet else [])
    shapes = jax.eval_shape(network.preset(name).init, jax.random.key(0), *inputs)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == PUBLISHED[network, name]

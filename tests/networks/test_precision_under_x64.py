"""Parameters and outputs of every network stay float32 where jax computes in float64; traced only."""

import jax
import numpy as np
import pytest

from scorekit import networks

VECTOR = np.ones((2, 2))  # float64, as numpy makes it
CONDITIONS = {"num_classes": 3, "vector_size": 2}
NETWORKS = {
    "ADM": (
        networks.ADM(channels=8, multipliers=(1,), blocks=1, map_shape=(2, 2, 1), **CONDITIONS),
        (2, 4, 4, 1),
        (2, 2, 2, 1),
    ),
    "DDPMUNet": (
        networks.DDPMUNet(channels=4, groups=2, attention_levels=(1,), map_shape=(2, 2, 1), **CONDITIONS),
        (2, 4, 4, 1),
        (2, 2, 2, 1),
    ),
    "DiT": (
        networks.DiT(depth=1, width=8, heads=2, map_shape=(2, 2, 1), **CONDITIONS),
        (2, 4, 4, 1),
        (2, 2, 2, 1),
    ),
    "EDM2": (
        networks.EDM2(channels=8, head_channels=8, map_shape=(2, 2, 1), **CONDITIONS),
        (2, 4, 4, 1),
        (2, 2, 2, 1),
    ),
    "MLP": (networks.MLP(features=8, blocks=1, map_shape=(3,), **CONDITIONS), (2, 3), (2, 3)),
    "SongUNet": (
        networks.SongUNet(
            channels=8,
            embedding="fourier",
            resample_filter=(1, 3, 3, 1),
            residual_input=True,
            map_shape=(2, 2, 1),
            **CONDITIONS,
        ),
        (2, 4, 4, 1),
        (2, 2, 2, 1),
    ),
    "UNet": (
        networks.UNet(
            channels=8,
            attention_resolutions=(2,),
            filters=2,
            grid=(2, 2),
            conditioning_layers=1,
            map_shape=(2, 2, 1),
            **CONDITIONS,
        ),
        (2, 4, 4, 1),
        (2, 2, 2, 1),
    ),
    "VDMUNet": (
        networks.VDMUNet(channels=8, depth=1, map_shape=(2, 2, 1), **CONDITIONS),
        (2, 4, 4, 1),
        (2, 2, 2, 1),
    ),
    "WaveNet": (networks.WaveNet(channels=8, layers=2, map_shape=(4, 1), **CONDITIONS), (2, 8, 1), (2, 4, 1)),
}


def dtypes(tree):
    return {np.dtype(leaf.dtype).name for leaf in jax.tree.leaves(tree)}


def traced(network, *inputs, **options):
    """The dtypes of the output and of the parameters."""
    with jax.enable_x64(True):
        run = lambda: network.init_with_output(jax.random.key(0), *inputs, **options)
        return tuple(dtypes(tree) for tree in jax.eval_shape(run))


def test_every_denoising_network_is_tested():
    assert {type(network) for network, _, _ in NETWORKS.values()} == set(networks.DENOISING)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_denoising_networks_are_float32(name, dtype):
    network, shape, map_shape = NETWORKS[name]
    x, noise, labels = np.ones(shape, dtype), np.ones(2), np.array([0, 3])
    assert traced(network, x, noise, labels, VECTOR, np.ones(map_shape)) == ({"float32"}, {"float32"})
    assert traced(network, x, noise) == ({"float32"}, {"float32"})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classifier_and_autoencoder_are_float32(dtype):
    x = np.ones((2, 4, 4, 1), dtype)
    assert traced(networks.Classifier(num_classes=3, channels=8), x, np.ones(2)) == ({"float32"}, {"float32"})
    autoencoder = networks.Autoencoder(latent_channels=2, channels=8, codes=3)
    assert traced(autoencoder, x) == ({"float32"}, {"float32"})
    z = np.ones((2, 2, 2, 2), dtype)
    assert traced(autoencoder, z, method="decode") == ({"float32"}, {"float32"})
    assert traced(autoencoder, z, method="quantise") == ({"float32"}, {"float32"})
    sizes = {"data_channels": 1, "latent_channels": 2, "channels": 4, "multipliers": (1, 2), "groups": 2}
    variational = networks.AutoencoderKL(**sizes, scaling_factor=(0.5, 2.0), shift_factor=0.1)
    assert traced(variational, x, np.ones((2, 2, 2, 2)), method="encode") == ({"float32"}, {"float32"})
    assert traced(variational, z, method="decode") == ({"float32"}, {"float32"})

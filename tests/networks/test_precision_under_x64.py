"""Parameters and outputs of every network stay float32 where jax computes in float64; traced only."""

import jax
import numpy as np
import pytest
from networks.small_networks import BATCH, CASES, MAP_SHAPES, SIDES, build

from scorekit import networks

FLOAT32 = ({"float32"}, {"float32"})
OPTIONS = {
    "SongUNet-2d": {"multipliers": (1, 2), "embedding": "fourier", "resample_filter": (1, 3, 3, 1)}
    | {"residual_input": True},
    "EDM2-2d": {"multipliers": (1, 2)},
    "UNet-2d": {"attention_resolutions": (2,), "filters": 2, "grid": (2, 2), "conditioning_layers": 1},
    "DDPMUNet-2d": {"attention_levels": (1,)},
    "ADM-2d": {"blocks": 1},
}


def dtypes(tree):
    return {np.dtype(leaf.dtype).name for leaf in jax.tree.leaves(tree)}


def traced(network, *inputs, **options):
    """The dtypes of the output and of the parameters."""
    with jax.enable_x64(True):
        run = lambda: network.init_with_output(jax.random.key(0), *inputs, **options)
        return tuple(dtypes(tree) for tree in jax.eval_shape(run))


@pytest.mark.parametrize("name", CASES)
def test_denoising_networks_are_float32(name):
    kind, axes = CASES[name]
    network = build(kind, axes, **OPTIONS.get(name, {}))
    x, noise = np.ones((BATCH, *SIDES[axes], 2)), np.ones(BATCH)
    conditions = np.zeros(BATCH, int), np.ones((BATCH, 2)), np.ones((BATCH, *MAP_SHAPES[axes]))  # float64, as of numpy
    assert traced(network, x, noise, *conditions) == FLOAT32
    assert traced(network, x.astype(np.float32), noise) == FLOAT32


def test_classifier_and_autoencoder_are_float32():
    x = np.ones((2, 4, 4, 1))
    assert traced(networks.Classifier(num_classes=3, channels=8), x, np.ones(2)) == FLOAT32
    autoencoder = networks.Autoencoder(latent_channels=2, channels=8, codes=3)
    assert traced(autoencoder, x) == FLOAT32
    z = np.ones((2, 2, 2, 2))
    assert traced(autoencoder, z, method="decode") == FLOAT32
    assert traced(autoencoder, z, method="quantise") == FLOAT32
    sizes = {"data_channels": 1, "latent_channels": 2, "channels": 4, "multipliers": (1, 2), "groups": 2}
    variational = networks.AutoencoderKL(**sizes, scaling_factor=(0.5, 2.0), shift_factor=0.1)
    assert traced(variational, x, np.ones((2, 2, 2, 2)), method="encode") == FLOAT32
    assert traced(variational, z, method="decode") == FLOAT32

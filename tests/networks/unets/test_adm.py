"""ADM: published sizes, dropout, rematerialisation, the map of an upsampler, and attributes that do not fit."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import ADM
from scorekit.networks.unets.adm import PRESETS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 4, 2)).astype(np.float32)
TINY = ADM(channels=8, multipliers=(1,), blocks=0)


def random_parameters(network, x=X):
    """Away from the zeros of the initialisation."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, 0.0)
    return jax.tree.map(lambda leaf: (0.2 * RNG.normal(size=leaf.shape)).astype(leaf.dtype), shapes)


PARAMS = random_parameters(TINY)

PUBLISHED = {
    "imagenet-64-edm": (64, 295_899_267),
    "imagenet-128": (128, 421_529_606),
    "imagenet-512": (512, 558_997_638),
    "upsampler-128-512": (512, 308_835_270),
}
"""Resolution, and the parameters of the networks that guided-diffusion's flags and EDM's defaults build; one of
each kind."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_numbers_of_parameters(name):
    side, published = PUBLISHED[name]
    network = ADM.preset(name)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 3)), 0.0)
    ours = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    features = 4 * (network.noise_channels or network.channels)
    null_label = 0 if network.num_classes is None else features
    null_map = 0 if network.map_shape is None else 2 * network.channels  # and the bias of its convolution
    assert ours - null_label - null_map == published


def test_presets_may_be_changed_and_have_names():
    assert ADM.preset("imagenet-64", learned_variance=False) == ADM.preset("imagenet-64-edm")
    assert ADM.preset("lsun", dropout=0.0) == ADM.preset("imagenet-256-unconditional")
    assert len(PRESETS) == len(PUBLISHED) + 5


@pytest.mark.slow
def test_dropout_is_active_when_it_has_a_key():
    dropping = dataclasses.replace(TINY, dropout=0.5)
    apply = jax.jit(dropping.apply)
    plain = apply(PARAMS, X, 0.0)
    np.testing.assert_array_equal(plain, jax.jit(TINY.apply)(PARAMS, X, 0.0))
    one, other = (apply(PARAMS, X, 0.0, rngs={"dropout": jax.random.key(seed)}) for seed in (0, 1))
    assert min(np.abs(a - b).max() for a, b in ((one, other), (one, plain))) > 1e-2


def test_a_learned_variance_doubles_the_channels_of_the_output():
    network = dataclasses.replace(TINY, learned_variance=True)
    assert jax.eval_shape(network.init_with_output, jax.random.key(0), X, 0.0)[0].shape == (2, 4, 4, 4)

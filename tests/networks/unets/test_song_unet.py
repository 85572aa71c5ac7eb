"""DDPM++ and NCSN++: filters, embeddings, dropout, published sizes and attributes out of range."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors

from scorekit.networks import SongUNet
from scorekit.networks.unets._song_blocks import DownsamplingConv, downsample, upsample
from scorekit.networks.unets.song_unet import PRESETS, _RandomFrequencies

RNG = np.random.default_rng(0)
NETWORK = SongUNet(channels=8, multipliers=(1,), attention_resolutions=(4,), num_classes=3, vector_size=2)
X = RNG.normal(size=(2, 4, 6, 1)).astype(np.float32)
TAPS = [(1, 1), (1, 3, 3, 1), (1, 2, 5, 3, 2, 4)]


def published(kind):
    return random_tensors.load(f"song_unet_{kind}")[1]["parameters"]


COUNTS = {**published("ddpmpp"), **published("ncsnpp")}


def matrix(taps, size):
    """``(size / 2, size)``: the filter at every second position, zero beyond the edges."""
    f, half = np.array(taps) / sum(taps), len(taps) // 2
    found = np.zeros((size // 2, size))
    for i in range(size // 2):
        for k, tap in enumerate(f):
            if 0 <= (at := 2 * i + k + 1 - half) < size:
                found[i, at] = tap
    return found


@pytest.mark.parametrize("taps", TAPS)
def test_downsampling_is_a_filter_with_stride_2_and_upsampling_its_transpose(taps):
    x = jnp.asarray(RNG.normal(size=(2, 8, 6, 3)), jnp.float32)
    rows, columns = matrix(taps, 8), matrix(taps, 6)
    down = np.einsum("ia,jb,nabc->nijc", rows, columns, x)
    np.testing.assert_allclose(downsample(x, taps), down, rtol=1e-5, atol=1e-6)
    up = np.einsum("ia,jb,nijc->nabc", 2 * rows, 2 * columns, down)
    np.testing.assert_allclose(upsample(jnp.asarray(down, jnp.float32), taps), up, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("taps", TAPS[:2])
def test_the_convolution_that_downsamples_is_a_full_convolution_and_the_filter(taps):
    x = RNG.normal(size=(1, 4, 6, 2)).astype(np.float32)
    kernel = RNG.normal(size=(3, 3, 2, 1)).astype(np.float32)
    variables = {"params": {"conv": {"kernel": kernel, "bias": np.array([0.5], np.float32)}}}
    found = np.asarray(DownsamplingConv(1, taps).apply(variables, x))
    half = len(taps) // 2
    padded = np.pad(x[0], ((half, half), (half, half), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    convolved = np.einsum("ijcab,abc->ij", windows, kernel[..., 0])
    f = np.outer(taps, taps) / sum(taps) ** 2
    patches = np.lib.stride_tricks.sliding_window_view(convolved, f.shape)[::2, ::2]
    np.testing.assert_allclose(found[0, ..., 0], np.einsum("ijab,ab->ij", patches, f) + 0.5, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddpmpp-cifar10", "ncsnpp-cifar10"])
def test_published_sizes_have_the_published_number_of_parameters(name):
    assert count(name) == COUNTS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [kind + size for kind in ("ddpmpp", "ncsnpp") for size in ("-deep", "-ffhq64")])
def test_other_published_sizes_have_the_published_number_of_parameters(name):
    assert count(name) == COUNTS[name]


def count(name):
    side = 64 if "64" in name else 32
    x = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: SongUNet.preset(name).init(jax.random.key(0), x, 0.0), x)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def test_every_published_size_is_compared():
    assert PRESETS.keys() == COUNTS.keys()
    assert COUNTS["ddpmpp-cifar10"] == 55_733_891
    for kind in ("ddpmpp", "ncsnpp"):  # those that are not counted differ in what has no or few parameters
        assert PRESETS[f"{kind}-afhqv2-64"] == {**PRESETS[f"{kind}-ffhq64"], "dropout": 0.25}
        assert PRESETS[kind] == {**PRESETS[f"{kind}-deep"], "blocks": 4}
    with pytest.raises(ValueError, match=r"name must be one of ddpmpp, .*ncsnpp-afhqv2-64, got 'ncsn'"):
        SongUNet.preset("ncsn")


@pytest.mark.slow
def test_dropout_acts_with_a_key_and_rematerialisation_changes_nothing():
    network, noise = dataclasses.replace(NETWORK, attention_resolutions=()), np.zeros(2, np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, noise)
    params = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(leaf.dtype) / 4, shapes)
    dropping = dataclasses.replace(network, dropout=0.5, remat=True)
    off, plain = (jax.jit(n.apply)(params, X, noise) for n in (dropping, network))
    np.testing.assert_allclose(off, plain, rtol=1e-5, atol=1e-6)
    call = jax.jit(lambda key: dropping.apply(params, X, noise, rngs={"dropout": key}))
    first, again, other = (call(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert min(np.abs(first - other).max(), np.abs(first - off).max()) > 1e-2


def test_frequencies_of_the_fourier_embedding_are_constants():
    module, noise = _RandomFrequencies(64), jnp.array([0.5])
    variables: Any = module.init(jax.random.key(0), noise)
    assert 12 < np.std(variables["constants"]["frequencies"]) < 20
    gradient = jax.grad(lambda variables: jnp.sum(jnp.asarray(module.apply(variables, noise))))(variables)
    assert not np.any(gradient["constants"]["frequencies"])

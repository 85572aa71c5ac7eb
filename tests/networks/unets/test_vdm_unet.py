"""The U-Net of VDM: published sizes, the normalised noise level, and what the Fourier features resolve."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import VDMUNet
from scorekit.networks.unets.vdm_unet import PRESETS, _with_fourier_features

NETWORK = VDMUNet(channels=8, depth=1)
X = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)


def count(channels, depth, block_attention=False):
    """The number of parameters of an unconditional network for three channels, layer by layer."""
    c, d, e = channels, 3, 4 * channels
    conv, attention = lambda n, m: 9 * n * m + m, 2 * c + 4 * (c * c + c)
    block = lambda n: 2 * n + conv(n, c) + e * c + 2 * c + conv(c, c) + (n * c + c if n != c else 0)
    total = conv(5 * d, c) + (c * e + e) + (e * e + e) + depth * block(c) + 2 * block(c) + attention
    total += (depth + 1) * block(2 * c) + 2 * c + conv(c, d)
    return total + block_attention * (2 * depth + 1) * attention


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_published_sizes(name):
    network = VDMUNet.preset(name)
    shapes = jax.eval_shape(network.init, jax.random.key(0), np.ones((1, 32, 32, 3)), np.zeros(1))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count(**PRESETS[name])


def test_the_noise_level_is_normalised_between_its_ends():
    at_ends = NETWORK._embed(np.array([13.3, -5.0], np.float32) / 4)
    angles = np.array([[0.0], [1000.0]]) * 10_000.0 ** (-np.arange(4) / 4)
    np.testing.assert_allclose(at_ends, np.concatenate([np.cos(angles), np.sin(angles)], axis=1), atol=2e-4)
    published = dataclasses.replace(NETWORK, noise_scale=1.0)
    np.testing.assert_allclose(published._embed(jnp.float32(2.0)), NETWORK._embed(jnp.float32(0.5)))


def test_fourier_features_separate_neighbouring_8_bit_values():
    values = (2 * (np.arange(256) + 0.5) / 256 - 1)[None, :, None]
    features = np.asarray(_with_fourier_features(jnp.asarray(values, jnp.float32)))[0]
    assert np.abs(np.diff(features[:, 0])).max() < 0.01
    assert np.abs(np.diff(features[:, 1:], axis=0)).max(1).min() > 1.0


@pytest.mark.slow
def test_attention_and_remat_are_switches():
    run = lambda network: jax.jit(network.init)(jax.random.key(0, impl="rbg"), X, np.zeros(2))
    everywhere, plain = (run(dataclasses.replace(NETWORK, block_attention=b)) for b in (True, False))
    names = [name for name in everywhere["params"] if name.endswith("attention")]
    assert names == ["in_0_attention", "middle_0_attention", "out_0_attention", "out_1_attention"]
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: p + 0.2 * rng.normal(size=p.shape).astype(np.float32), plain)
    gradient = lambda network: jax.jit(jax.grad(lambda p: jnp.sum(network.apply(p, X, np.zeros(2)) ** 2)))(params)
    saving = dataclasses.replace(NETWORK, remat=True)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max()),
        gradient(saving),
        gradient(NETWORK),
    )

"""The residual U-Net: a residual block, noise levels, octaves of the input, and attention."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.networks import ResidualUNet, timestep_features
from scorekit.networks._residual_blocks import Norm, ResidualBlock

KEY = jax.random.key(0, impl="rbg")
X = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
TINY = ResidualUNet(channels=8, multipliers=(1,), blocks=0)


def test_a_residual_block_multiplies_and_adds_what_the_condition_says():
    condition = np.array([[0.5, -1.0, 2.0, 0.25], [1.0, 0.0, -0.5, 3.0]], np.float32)
    block = ResidualBlock(2, Norm(1), film="scale_shift")
    params = block.init(KEY, X[..., :2], condition)
    inner = {**params["params"], "film": {"kernel": np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32)}}
    capture = lambda module, _: module.name == "norm_2"
    _, state = block.apply({"params": inner}, X[..., :2], condition, capture_intermediates=capture)
    (h,) = state["intermediates"]["norm_2"]["__call__"]
    h = np.asarray(h) * (1 + condition[:, None, None, :2]) + condition[:, None, None, 2:]
    h = jax.nn.silu(h)
    kernel, bias = inner["conv_2"]["kernel"], inner["conv_2"]["bias"]
    expected = (
        X[..., :2]
        + jax.lax.conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        + bias
    )
    np.testing.assert_allclose(block.apply({"params": inner}, X[..., :2], condition), expected, rtol=1e-5, atol=1e-5)


def test_a_learned_variance_doubles_the_channels_of_the_output():
    network = dataclasses.replace(TINY, learned_variance=True)
    assert jax.eval_shape(network.init_with_output, KEY, X, 0.0)[0].shape == (2, 4, 4, 6)


def test_noise_levels_are_timesteps_or_normalised_between_two_ends():
    noise = np.array([0.3, 17.0], np.float32)
    np.testing.assert_array_equal(TINY._embed(noise), timestep_features(32 * noise, 8))
    of_vdm = TINY.clone(noise_scale=4.0, log_snr_range=(-5.0, 13.3))
    at_ends = of_vdm._embed(np.array([13.3, -5.0], np.float32) / 4)
    np.testing.assert_allclose(at_ends, timestep_features(np.array([0.0, 1000.0]), 8), atol=2e-4)
    of_ddpm = TINY.clone(noise_scale=1.0, cosine_first=False, frequency_shift=1.0)
    angles = noise[:, None] * 10_000.0 ** (-np.arange(4) / 3)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(of_ddpm._embed(noise), expected, rtol=1e-5, atol=1e-6)


def test_octaves_separate_neighbouring_8_bit_values():
    values = (2 * (np.arange(256) + 0.5) / 256 - 1)[None, :, None]
    network = TINY.clone(input_octaves=(7, 8))
    features = np.asarray(network._with_octaves(jnp.asarray(values, jnp.float32)))[0]
    assert np.abs(np.diff(features[:, 0])).max() < 0.01
    assert np.abs(np.diff(features[:, 1:], axis=0)).max(1).min() > 1.0
    angles = np.pi * values[0] * [128, 256]
    np.testing.assert_allclose(features[:, 1:], np.concatenate([np.sin(angles), np.cos(angles)], 1), atol=1e-4)


def test_attention_is_where_it_is_asked_for():
    network = TINY.clone(multipliers=(1, 1), blocks=1, attention_levels=(1,))
    names = lambda network: set(jax.eval_shape(network.init, KEY, X, 0.0)["params"])
    attentions = {name for name in names(network) if name.endswith("attention")}
    assert attentions == {f"{name}_attention" for name in ("down1_0", "middle_0", "up1_0", "up1_1")}
    assert "middle_0_attention" not in names(network.clone(middle_attention="none"))
    heads = [network._heads(jnp.zeros(16)), network.clone(head_channels=8)._heads(jnp.zeros(16))]
    assert heads == [4, 2]

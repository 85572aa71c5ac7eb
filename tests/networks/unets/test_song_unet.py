"""DDPM++ and NCSN++: filters, and the frequencies of the Fourier embedding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks.unets._song_blocks import DownsamplingConv, downsample, upsample
from scorekit.networks.unets.song_unet import _RandomFrequencies

RNG = np.random.default_rng(0)
TAPS = [(1, 1), (1, 3, 3, 1), (1, 2, 5, 3, 2, 4)]


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


def test_frequencies_of_the_fourier_embedding_are_constants():
    module, noise = _RandomFrequencies(64), jnp.array([0.5])
    variables: Any = module.init(jax.random.key(0), noise)
    assert 12 < np.std(variables["constants"]["frequencies"]) < 20
    gradient = jax.grad(lambda variables: jnp.sum(jnp.asarray(module.apply(variables, noise))))(variables)
    assert not np.any(gradient["constants"]["frequencies"])

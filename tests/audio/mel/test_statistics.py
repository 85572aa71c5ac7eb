"""Features of clips against explicit sums, and for signals of known levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import audio
from scorekit.audio.mel_spectrograms import mel_to_hz

RATE = 4000
frames = jax.jit(audio.log_mel_frames, static_argnums=1, static_argnames="floor_db")
statistics = jax.jit(audio.log_mel_statistics, static_argnums=1)


def naive(x, rate):
    """Windows of 64 ms, one transform at a time, and triangles by interpolation."""
    length, hop = round(0.064 * rate), round(0.064 * rate) // 4
    size = 2 * length  # a power of two at these rates
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    padded = np.pad(np.asarray(x, np.float64), (length // 2, length + hop))
    spectra = [
        np.abs(np.fft.rfft(padded[i : i + length] * window, size)) / (window.sum() / 2)
        for i in range(0, len(x) + hop, hop)
    ][: 1 + -(-len(x) // hop)]
    bins = np.arange(size // 2 + 1) * rate / size
    lowest, highest = 40.0 / (200 / 3), 15 + 27 * np.log(rate / 2 / 1000) / np.log(6.4)
    corners = mel_to_hz(np.linspace(lowest, highest, 50))
    bank = np.stack([np.interp(bins, corners[i : i + 3], [0, 1, 0]) for i in range(48)])
    return np.log(np.maximum(np.stack(spectra) @ bank.T, 1e-4))


@pytest.mark.slow
def test_log_mel_frames_match_explicit_sums():
    x = 0.3 * np.random.default_rng(0).standard_normal(2048)
    found = frames(jnp.asarray(x, jnp.float32), RATE)
    assert found.shape == (33, 48)
    np.testing.assert_allclose(found, naive(x, RATE), atol=2e-4)


def test_log_mel_statistics_are_mean_and_standard_deviation():
    x = 0.3 * np.random.default_rng(0).standard_normal((3, 2048)) * np.linspace(0, 1, 2048)
    found, expected = statistics(jnp.asarray(x, jnp.float32), RATE), np.stack([naive(one, RATE) for one in x])
    np.testing.assert_allclose(found, np.concatenate([expected.mean(1), expected.std(1)], axis=1), atol=1e-3)


def test_gain_shifts_the_means_down_to_the_floor():
    x = 0.1 * jax.random.normal(jax.random.key(0), (4096,))
    loud, quiet = statistics(x, RATE), statistics(0.5 * x, RATE)
    np.testing.assert_allclose(loud[:48] - quiet[:48], np.log(2), atol=1e-3)
    np.testing.assert_allclose(loud[48:], quiet[48:], atol=1e-3)
    np.testing.assert_allclose(statistics(1e-7 * x, RATE), np.r_[np.full(48, np.log(1e-4)), np.zeros(48)], atol=1e-5)
    np.testing.assert_allclose(frames(1e-7 * x, RATE, floor_db=-60.0), np.log(1e-3), atol=1e-5)

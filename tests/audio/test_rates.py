"""Resampling by integer factors: exact on sines, a projection, and a transpose pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import audio

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("length", "factor"), [(96, 4), (90, 3), (90, 2), (35, 5), (16, 1)])
def test_low_rate_samples_the_low_band_and_removes_the_rest(length, factor):
    n, low = np.arange(length), length // factor
    for cycles in range(length // 2 + 1):
        x = np.cos(2 * np.pi * cycles * n / length + 0.3).astype(np.float32)
        expected = x[::factor] if cycles < low / 2 else np.zeros(low)
        np.testing.assert_allclose(audio.low_rate(x, factor), expected, atol=2e-6)


@pytest.mark.parametrize(("length", "factor"), [(96, 4), (90, 3), (35, 5)])
def test_high_rate_is_the_transpose_of_low_rate_times_the_factor(length, factor):
    y = RNG.normal(size=(2, length // factor)).astype(np.float32)
    (back,) = jax.vjp(lambda x: audio.low_rate(x, factor), jnp.zeros((2, length)))[1](jnp.asarray(y))
    band = audio.high_rate(y, factor)
    np.testing.assert_allclose(factor * back, band, atol=1e-5)
    again = audio.low_rate(band, factor)
    np.testing.assert_allclose(audio.high_rate(again, factor), band, atol=1e-5)  # a projection

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
def test_low_rate_and_high_rate_round_trips(length, factor):
    x = RNG.normal(size=(2, length)).astype(np.float32)
    low = audio.low_rate(x, factor)
    band = audio.high_rate(low, factor)
    assert low.shape == (2, length // factor)
    assert band.shape == x.shape
    np.testing.assert_allclose(audio.low_rate(band, factor), low, atol=1e-5)
    np.testing.assert_allclose(audio.high_rate(audio.low_rate(band, factor), factor), band, atol=1e-5)
    np.testing.assert_allclose(
        np.sum(np.asarray(band) * (x - band)), 0, atol=1e-3
    )  # the rest is orthogonal to the band
    assert float(jnp.sum((x - band) ** 2)) > 0.3 * float(np.sum(x**2))


def test_low_rate_is_the_transpose_of_high_rate_up_to_the_factor():
    x, y = RNG.normal(size=24).astype(np.float32), RNG.normal(size=6).astype(np.float32)
    (back,) = jax.vjp(lambda x: audio.low_rate(x, 4), jnp.asarray(x))[1](jnp.asarray(y))
    np.testing.assert_allclose(4 * back, audio.high_rate(y, 4), atol=1e-5)

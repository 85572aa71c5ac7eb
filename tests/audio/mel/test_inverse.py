"""Inverse mel spectrograms against scipy's non-negative least squares, and identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from scorekit import audio
from scorekit.audio.mel_spectrograms import _apply_gains

RATE, SIZE, HOP = 8000, 256, 64
WINDOW = audio.hann(SIZE)
BANK = audio.mel_filter_bank(RATE, SIZE, 40, f_min=40.0)


def noise(*shape):
    return jax.random.normal(jax.random.key(0), shape)


def misfit(h, mel):
    return np.linalg.norm(np.asarray(h, np.float64) @ BANK - mel, axis=-1)


def test_magnitude_from_mel_matches_scipy_nnls():
    """Mels that no magnitudes have, so that the least misfit is not zero."""
    rng = np.random.default_rng(0)
    mel = np.abs(rng.normal(size=(6, 40))) ** 3
    best = np.array([scipy.optimize.nnls(BANK.T.astype(np.float64), row)[1] for row in mel])
    assert best.min() > 0.01
    with jax.enable_x64(True):
        found = np.asarray(audio.magnitude_from_mel(mel, BANK.astype(np.float64), iterations=5000))
    assert found.min() >= 0
    assert np.all(misfit(found, mel) >= best - 1e-9)
    np.testing.assert_allclose(misfit(found, mel), best, rtol=1e-3)


def test_magnitude_from_mel_misfit_is_monotonic():
    mel = np.abs(np.random.default_rng(1).normal(size=(4, 40)))
    steps = np.stack([misfit(audio.magnitude_from_mel(mel, BANK, iterations=n), mel) for n in (1, 2, 3, 5, 10, 50)])
    assert np.all(np.diff(steps, axis=0) <= 1e-6)
    assert np.all(steps[-1] < 0.5 * steps[0])


def test_mel_envelope_interpolates_between_filters():
    level = jnp.exp(noise(40))
    found = np.asarray(audio.mel_envelope(level * BANK.sum(0), BANK))
    for k in np.flatnonzero(BANK.sum(1) > 0):
        over = np.asarray(level)[BANK[k] > 0]
        assert over.min() * (1 - 1e-5) <= found[k] <= over.max() * (1 + 1e-5)
    mean = BANK[20] @ np.asarray(level) / BANK[20].sum()
    assert found[20] == pytest.approx(mean, rel=1e-5)
    assert found[0] == found[np.flatnonzero(BANK.sum(1) > 0)[0]]


@pytest.mark.slow
def test_apply_gains_filters_and_smooth_gains_are_invertible():
    t = jnp.arange(2000.0) / RATE
    low, high = jnp.sin(2 * jnp.pi * 500 * t), jnp.sin(2 * jnp.pi * 2500 * t)
    gains = jnp.where(jnp.arange(129) < 48, 2.0, 0.0)
    inside = slice(SIZE, -SIZE)
    np.testing.assert_allclose(_apply_gains(low + high, gains, WINDOW, HOP)[inside], 2 * low[inside], atol=1e-3)
    smooth = jnp.exp(jnp.cos(jnp.pi * jnp.arange(129) / 128) + 0.5 * jnp.sin(jnp.arange(33.0) / 8)[:, None])
    x = noise(3, 2000)
    back = _apply_gains(_apply_gains(x, smooth, WINDOW, HOP), 1 / smooth, WINDOW, HOP)
    np.testing.assert_allclose(back[:, inside], x[:, inside], atol=0.02)  # what spreads beyond the ends is lost


@pytest.mark.slow
def test_match_mel_approaches_the_target_and_keeps_a_match():
    x = noise(1, 4000) * jnp.exp(-jnp.arange(4000.0) / 1000)
    mel = audio.mel_spectrogram(x, BANK, WINDOW, HOP)
    np.testing.assert_allclose(audio.match_mel(x, mel, BANK, WINDOW, HOP), x, atol=1e-5)
    other = jax.random.normal(jax.random.key(1), (1, 4000))
    far = lambda y: float(jnp.abs(jnp.log(audio.mel_spectrogram(y, BANK, WINDOW, HOP) / mel)).mean())
    matched = audio.match_mel(other, mel, BANK, WINDOW, HOP)
    assert far(matched) < 0.15 * far(other)
    quiet = audio.match_mel(other, jnp.zeros_like(mel), BANK, WINDOW, HOP, floor=1e-5)
    assert float(jnp.abs(quiet).max()) < 1e-3
    assert not np.any(audio.match_mel(jnp.zeros_like(x), mel, BANK, WINDOW, HOP))  # silence has nothing to amplify

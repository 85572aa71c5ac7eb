"""Inverse mel spectrograms against scipy's non-negative least squares, and identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from scorekit import audio

RATE, SIZE = 8000, 256
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


def test_mel_envelope_interpolates_between_filters():
    level = jnp.exp(noise(40))
    found = np.asarray(audio.mel_envelope(level * BANK.sum(0), BANK))
    for k in np.flatnonzero(BANK.sum(1) > 0):
        over = np.asarray(level)[BANK[k] > 0]
        assert over.min() * (1 - 1e-5) <= found[k] <= over.max() * (1 + 1e-5)
    mean = BANK[20] @ np.asarray(level) / BANK[20].sum()
    assert found[20] == pytest.approx(mean, rel=1e-5)
    assert found[0] == found[np.flatnonzero(BANK.sum(1) > 0)[0]]

"""Chroma, flux and seams, on sounds of which they are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import audio

RATE = 4000
T = np.arange(4000) / RATE


def tone(pitch):
    return np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * T)


@pytest.mark.parametrize("pitch", [60, 63, 66, 69, 72, 75, 79, 83])
def test_a_tone_is_of_its_class_and_little_else(pitch):
    found = np.asarray(audio.chroma(tone(pitch), RATE))[10:-10]
    assert np.all(found.argmax(1) == pitch % 12)
    assert found[:, pitch % 12].sum() > 0.5 * found.sum()


def test_octaves_fold_and_chords_add():
    chord = np.asarray(audio.chroma(tone(60) + tone(64) + tone(79), RATE))[10:-10].mean(0)
    assert set(np.argsort(chord)[-3:]) == {0, 4, 7}
    assert audio.chroma(np.zeros((2, 800)), RATE).shape == (2, 14, 12)


def test_flux_peaks_where_a_note_is_struck_and_only_rises_count():
    x = tone(69) * (T >= 0.4) * np.clip((0.9 - T) / 0.1, 0, 1)
    flux = np.asarray(audio.spectral_flux(x, RATE))
    assert abs(flux.argmax() * 0.016 - 0.4) < 0.017
    inside = flux[round(0.45 / 0.016) : round(0.95 / 0.016)]  # it is held, and released
    assert inside.max() < 0.1 * flux.max()


def test_correlation_is_numpys_and_zero_for_what_does_not_vary():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    b = b + 0.5 * a
    expected = [np.corrcoef(p.ravel(), q.ravel())[0, 1] for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(audio.correlation(a, b), expected, rtol=1e-5)
    assert audio.correlation(np.ones((1, 4)), b[:1, 0])[0] == 0


def test_noise_has_no_seams_and_a_break_is_one():
    x = np.asarray(jax.random.normal(jax.random.key(0), (2000, 400)))
    assert float(jnp.mean(audio.seam_roughness(x, [100, 200, 300]))) == pytest.approx(1, abs=0.05)
    x = np.tile(tone(48), (3, 1))
    x[1, 2000:] += 1.0
    x[2, 2001:] += 1.0
    found = audio.seam_roughness(x, [2000])
    assert found[0] < 3
    jump = (1.0**2 + 1.0**2) / 2  # the second difference is +1 and -1 about a break
    everywhere = np.mean(np.diff(x[1], 2) ** 2)
    assert found[1] == pytest.approx(jump / everywhere, rel=0.1)
    assert found[2] == pytest.approx(0.5 * jump / everywhere, rel=0.1)

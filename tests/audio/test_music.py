"""Chroma and onsets against their formulas, and seams of signals with known breaks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import audio
from scorekit.audio import music

RATE = 4000


def test_chroma_is_the_normalised_energy_of_pitch_classes():
    x = 0.2 * np.random.default_rng(0).normal(size=(2, 2000))
    folded = np.abs(np.asarray(audio.stft(x, audio.hann(1024), 256))) ** 2 @ music._pitch_classes(1024, RATE, 55.0)
    np.testing.assert_allclose(audio.chroma(x, RATE), folded / np.linalg.norm(folded, axis=-1)[..., None], rtol=1e-4)


def test_pitch_class_weights_interpolate_between_classes_above_f_min():
    weights = music._pitch_classes(1024, RATE, 55.0)
    np.testing.assert_allclose(weights.sum(1), np.arange(513) * RATE / 1024 >= 55.0)
    weights = music._pitch_classes(100, 4400, 55.0)  # bins of 44 Hz
    np.testing.assert_allclose(weights[[5, 10, 20, 40], 9], 1.0)  # A of each octave
    off = 12 * np.log2(484 / 440) - 1  # bin 11 lies above A sharp
    np.testing.assert_allclose(weights[11, [10, 11]], [1 - off, off])


def test_onset_envelope_matches_its_formula():
    x = 0.2 * np.random.default_rng(1).normal(size=2000)
    size = np.abs(np.asarray(audio.stft(x, audio.hann(256), 64))) * 2 / np.asarray(audio.hann(256)).sum()
    level = np.log1p(100 * size)
    expected = np.maximum(level[1:] - level[:-1], 0).mean(-1)
    np.testing.assert_allclose(audio.onset_envelope(x, RATE), expected, rtol=1e-4)


def test_correlation_matches_numpy_and_is_zero_for_constants():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    b = b + 0.5 * a
    expected = [np.corrcoef(p.ravel(), q.ravel())[0, 1] for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(audio.correlation(a, b), expected, rtol=1e-5)
    assert audio.correlation(np.ones((1, 4)), b[:1, 0])[0] == 0


def test_seam_roughness_of_noise_and_of_a_discontinuity():
    x = np.asarray(jax.random.normal(jax.random.key(0), (2000, 400)))
    assert float(jnp.mean(audio.seam_roughness(x, [100, 200, 300]))) == pytest.approx(1, abs=0.05)
    x = np.tile(np.sin(2 * np.pi * 130.81 * np.arange(4000) / RATE), (3, 1))
    x[1, 2000:] += 1.0
    x[2, 2001:] += 1.0
    found = audio.seam_roughness(x, [2000])
    assert found[0] < 3
    jump = (1.0**2 + 1.0**2) / 2  # the second difference is +1 and -1 about a break
    everywhere = np.mean(np.diff(x[1], 2) ** 2)
    assert found[1] == pytest.approx(jump / everywhere, rel=0.1)
    assert found[2] == pytest.approx(0.5 * jump / everywhere, rel=0.1)

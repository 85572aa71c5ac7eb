"""Chroma, onsets and seams of signals with known properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import audio
from scorekit.audio import music

RATE = 4000
T = np.arange(4000) / RATE


def sine(hertz, seconds):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def tone(pitch):
    return np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * T)


@pytest.mark.parametrize("pitch", [60, 63, 66, 69, 72, 75, 79, 83])
def test_chroma_of_a_tone_is_concentrated_in_its_class(pitch):
    found = np.asarray(audio.chroma(tone(pitch), RATE))[3:-3]
    assert np.all(found.argmax(1) == pitch % 12)
    assert found[:, pitch % 12].sum() > 0.5 * found.sum()


@pytest.mark.parametrize(("hertz", "name"), [(261.63, 0), (440.0, 9), (880.0, 9), (110.0, 9), (987.77, 11)])
def test_chroma_of_a_sine_is_octave_invariant(hertz, name):
    found = np.asarray(audio.chroma(sine(hertz, 1.0), RATE))[4:-4]
    assert (found.argmax(-1) == name).all()
    np.testing.assert_allclose((found**2).sum(-1), 1, rtol=1e-5)


def test_pitch_class_weights_sum_to_one_above_f_min():
    weights = music._pitch_classes(1024, RATE, 55.0)
    np.testing.assert_allclose(weights.sum(1), np.arange(513) * RATE / 1024 >= 55.0)
    assert (weights >= 0).all()


def test_chroma_of_octaves_and_chords():
    chord = np.asarray(audio.chroma(tone(60) + tone(64) + tone(79), RATE))[3:-3].mean(0)
    assert set(np.argsort(chord)[-3:]) == {0, 4, 7}
    assert audio.chroma(np.zeros((2, 800)), RATE).shape == (2, 5, 12)


def test_pitch_class_weights_interpolate_between_classes():
    weights = music._pitch_classes(100, 4400, 55.0)  # bins of 44 Hz
    assert weights[10, 9] == pytest.approx(1.0)
    off = 12 * np.log2(484 / 440) - 1  # bin 11 lies above A sharp
    np.testing.assert_allclose(weights[11, [10, 11]], [1 - off, off])


def test_chroma_is_computed_from_energies():
    """Two tones whose levels are swapped: their ratio changes by (2^2)^2."""
    ratio = lambda a, b: np.divide(*np.asarray(audio.chroma(a * tone(72) + b * tone(78), RATE))[8, [0, 6]])
    assert ratio(1.0, 0.5) / ratio(0.5, 1.0) == pytest.approx(16, rel=0.05)


def test_onset_envelope_matches_its_formula():
    x = 0.2 * np.random.default_rng(1).normal(size=2000)
    size = np.abs(np.asarray(audio.stft(x, audio.hann(256), 64))) * 2 / np.asarray(audio.hann(256)).sum()
    level = np.log1p(100 * size)
    expected = np.maximum(level[1:] - level[:-1], 0).mean(-1)
    np.testing.assert_allclose(audio.onset_envelope(x, RATE), expected, rtol=1e-4)


def test_onset_envelope_peaks_at_onsets_and_not_at_releases():
    note = sine(440, 0.5) * np.minimum(1.0, np.arange(2000)[::-1] / 800)  # an end without a click
    x = np.concatenate([np.zeros(2000), note, np.zeros(2000)])
    envelope = np.asarray(audio.onset_envelope(x, RATE))
    middle = np.abs(np.arange(len(envelope)) + 0.5 - 0.5 / 0.016)
    assert middle[envelope.argmax()] < 3
    assert envelope[round(0.6 / 0.016) :].max() < 0.1 * envelope.max()
    assert envelope[round(0.83 / 0.016) : round(0.94 / 0.016)].max() < 0.005 * envelope.max()  # it becomes softer


def test_correlation_matches_numpy_and_is_zero_for_constants():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    b = b + 0.5 * a
    expected = [np.corrcoef(p.ravel(), q.ravel())[0, 1] for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(audio.correlation(a, b), expected, rtol=1e-5)
    assert audio.correlation(np.ones((1, 4)), b[:1, 0])[0] == 0


def test_seam_roughness_of_noise_and_of_a_discontinuity():
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

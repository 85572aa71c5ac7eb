"""Pulse trains, harmonic tones, feature vectors and peak normalisation against their sums in float64."""

import jax
import numpy as np

from scorekit import audio

RATE = 4000


def test_pulse_train_is_the_sum_of_all_partials_below_the_nyquist_frequency():
    pitch = np.array([36, 69, 84, 83])
    pulses = np.asarray(jax.jit(audio.pulse_train, static_argnums=(1, 2))(pitch, 2048, RATE))
    n = np.arange(2048) / RATE
    for row, f in zip(pulses, 440.0 * 2.0 ** ((pitch - 69.0) / 12.0), strict=True):
        partials = np.arange(1, 100)[np.arange(1, 100) * f < RATE / 2]
        expected = sum(np.cos(2 * np.pi * k * f * n) for k in partials) / 32
        np.testing.assert_allclose(row, expected, atol=2e-3)


def test_harmonic_tones_are_the_partials_of_the_active_keys():
    roll = np.zeros((2, 33, 128), np.uint8)
    roll[0, 4:9, 69], roll[0, 6:12, 60], roll[1, :, 84] = 127, 64, 100
    tones = np.asarray(audio.harmonic_tones(roll, 2048, RATE, count=3))
    assert tones.shape == (2, 2048, 6)
    t, frame = np.arange(2048) / RATE, np.arange(2048) // 64
    for pitch, amplitude, first, last in ((69, 1.0, 4, 6), (60, 64 / 127, 9, 12)):  # the only key in these frames
        f, at = 440 * 2 ** ((pitch - 69) / 12), (frame >= first) & (frame < last)
        for k in range(3):
            angle = 2 * np.pi * (k + 1) * f * t[at]
            np.testing.assert_allclose(tones[0, at, 2 * k], amplitude * np.sin(angle), atol=1e-3)
            np.testing.assert_allclose(tones[0, at, 2 * k + 1], amplitude * np.cos(angle), atol=1e-3)
    both, f = (frame >= 6) & (frame < 9), 440 * 2 ** (-9 / 12)
    expected = np.sin(2 * np.pi * 440 * t[both]) + 64 / 127 * np.sin(2 * np.pi * f * t[both])
    np.testing.assert_allclose(tones[0, both, 0], expected, atol=1e-3)
    assert np.all(tones[0, frame >= 12] == 0)
    assert np.all(tones[1, :, 2:] == 0)  # 1046 Hz: its second partial is above 2 kHz
    assert np.abs(tones[1, :, 0]).max() > 0.7


def test_pitch_velocity_features_are_one_hot_and_log_velocity():
    features = np.asarray(audio.pitch_velocity_features(np.array([36, 84, 30]), np.array([127, 64, 0])))
    expected = np.zeros((3, 50))
    expected[0, 0], expected[1, 48], expected[:, 49] = 1, 1, np.log2(np.array([127, 64, 1]) / 127)
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_normalise_peak_scales_each_sound_and_keeps_silence():
    x = np.random.default_rng(0).normal(size=(3, 100)) * np.array([[0.1], [2.0], [0.0]])
    normalised = np.asarray(audio.normalise_peak(x, 0.9))
    np.testing.assert_allclose(np.abs(normalised[:2]).max(axis=1), 0.9, rtol=1e-6)
    np.testing.assert_allclose(normalised[:2], x[:2] * (0.9 / np.abs(x[:2]).max(axis=1, keepdims=True)), rtol=1e-5)
    assert not normalised[2].any()

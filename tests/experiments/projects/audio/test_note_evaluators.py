"""Evaluators of notes on sounds of known pitch and family."""

import numpy as np
import pytest

from experiments.projects.audio.note_evaluators import (
    clear_classes,
    evaluate_notes,
    fit_note_evaluators,
    right_pitch,
    track_pitch,
)

RATE = 4000


def tone(pitch, amplitudes=(1.0, 0.5, 0.25), seconds=0.5):
    """Harmonic tones ``(N, length)`` with a decay, partials above half the sample rate left out."""
    n = np.arange(round(seconds * RATE)) / RATE
    f = 440.0 * 2.0 ** ((np.atleast_1d(pitch)[:, None] - 69.0) / 12.0)
    partials = ((k + 1) * f for k in range(len(amplitudes)))
    sines = (a * (h < RATE / 2) * np.sin(2 * np.pi * h * n) for a, h in zip(amplitudes, partials, strict=True))
    return (0.2 * sum(sines) * np.exp(-2 * n)).astype(np.float32)


def test_track_pitch_is_within_a_tenth_of_a_semitone_over_the_range_of_the_notes():
    pitch = np.arange(36, 85, 4) + 0.25
    np.testing.assert_allclose(track_pitch(tone(pitch), RATE), pitch, atol=0.1)


def test_track_pitch_finds_a_missing_fundamental():
    pitch = np.array([50.0, 57.0])
    np.testing.assert_allclose(track_pitch(tone(pitch, (0.0, 1.0, 1.0, 1.0)), RATE), pitch, atol=0.1)


def test_track_pitch_of_silence_is_nan_and_sounds_are_validated():
    assert np.isnan(track_pitch(np.zeros((2, 2000)), RATE)).all()
    with pytest.raises(ValueError, match=r"x must be finite and \(N, length\)"):
        track_pitch(np.full((1, 2000), np.nan), RATE)


def test_right_pitch_is_within_fifty_cents():
    tracked = np.array([60.49, 59.51, 60.51, 72.0, np.nan])
    assert right_pitch(tracked, 60).tolist() == [True, True, False, False, False]


def test_clear_classes_are_tracked_right_in_nine_of_ten_notes():
    label = np.repeat([2, 5, 8], 10)
    pitch = np.full(30, 60)
    tracked = np.full(30, 60.0)
    tracked[[10, 20, 21]] = 72.0  # one in ten of class 5, two in ten of class 8
    assert clear_classes(tracked, pitch, label).tolist() == [2, 5]


@pytest.fixture(scope="module")
def notes():
    """Two families of different partials; the instruments of each differ in their slope."""
    pitch = np.tile(np.arange(40, 80, 2), 4)
    instrument = np.repeat(np.arange(4), 20)
    hollow, full = (1.0, 0.0, 0.6, 0.0, 0.4), (1.0, 0.8, 0.6, 0.5, 0.4)
    sounds = [tone(pitch[instrument == i], tuple(np.array(hollow if i < 2 else full) ** (1 + i % 2))) for i in range(4)]
    labels = {"pitch": pitch, "instrument": instrument, "family": instrument // 2}
    return np.concatenate(sounds), labels


@pytest.fixture(scope="module")
def fitted(notes):
    return fit_note_evaluators(*notes, RATE)


def test_evaluators_predict_the_notes_they_were_fitted_to(notes, fitted):
    assert fitted.clear.tolist() == [0, 1, 2, 3]
    assert evaluate_notes(fitted, *notes) == {"pitch": 1.0, "family": 1.0}


def test_evaluators_detect_wrong_pitches_and_families(notes, fitted):
    sounds, labels = notes
    pitch = labels["pitch"] + np.where(labels["instrument"] == 0, 12, 1)
    wrong = {**labels, "pitch": pitch, "family": 1 - labels["family"]}
    found = evaluate_notes(fitted, sounds, wrong)
    assert found == {"pitch": 0.0, "family": 0.0}


def test_predicted_family_is_independent_of_loudness_and_robust_to_hiss(notes, fitted):
    sounds, labels = notes
    assert evaluate_notes(fitted, 0.05 * sounds, labels)["family"] == 1.0
    hiss = 0.01 * np.abs(sounds).max(axis=1, keepdims=True) * np.random.default_rng(1).standard_normal(sounds.shape)
    assert evaluate_notes(fitted, sounds + hiss, labels)["family"] >= 0.95


def test_pitch_is_evaluated_on_instruments_of_clear_pitch(notes):
    sounds, labels = notes
    pitch = labels["pitch"] + 7 * (labels["instrument"] == 3)  # one instrument is never at its label
    fitted = fit_note_evaluators(sounds, {**labels, "pitch": pitch}, RATE)
    assert fitted.clear.tolist() == [0, 1, 2]
    assert evaluate_notes(fitted, sounds, {**labels, "pitch": pitch})["pitch"] == 1.0

"""The judges of notes on sounds whose pitch and family are known."""

import numpy as np
import pytest

from experiments.evaluation.run_metrics import note_evaluators as judges

RATE = 4000


def tone(pitch, amplitudes=(1.0, 0.5, 0.25), seconds=0.5):
    """Harmonic tones ``(N, length)`` with a decay, partials above half the sample rate left out."""
    n = np.arange(round(seconds * RATE)) / RATE
    f = 440.0 * 2.0 ** ((np.atleast_1d(pitch)[:, None] - 69.0) / 12.0)
    partials = ((k + 1) * f for k in range(len(amplitudes)))
    sines = (a * (h < RATE / 2) * np.sin(2 * np.pi * h * n) for a, h in zip(amplitudes, partials, strict=True))
    return (0.2 * sum(sines) * np.exp(-2 * n)).astype(np.float32)


def test_pitch_is_heard_within_a_tenth_of_a_semitone_over_the_range_of_the_notes():
    pitch = np.arange(36, 85, 4) + 0.25
    np.testing.assert_allclose(judges.track_pitch(tone(pitch), RATE), pitch, atol=0.1)


def test_a_fundamental_that_is_missing_is_heard():
    pitch = np.array([50.0, 57.0])
    np.testing.assert_allclose(judges.track_pitch(tone(pitch, (0.0, 1.0, 1.0, 1.0)), RATE), pitch, atol=0.1)


def test_silence_has_no_pitch_and_broken_sounds_are_refused():
    assert np.isnan(judges.track_pitch(np.zeros((2, 2000)), RATE)).all()
    with pytest.raises(ValueError, match=r"x must be finite and \(N, length\)"):
        judges.track_pitch(np.full((1, 2000), np.nan), RATE)
    with pytest.raises(ValueError, match=r"x must be finite and \(N, length\), got \(2000,\)"):
        judges.track_pitch(np.zeros(2000), RATE)


def test_fifty_cents_and_octaves():
    tracked = np.array([60.49, 59.51, 60.51, 72.0, 48.3, 84.6, np.nan])
    assert judges.right_pitch(tracked, 60).tolist() == [True, True, False, False, False, False, False]
    assert judges.right_pitch(tracked, 60, any_octave=True).tolist() == [True, True, False, True, True, False, False]


def test_clear_classes_are_those_of_which_nine_in_ten_are_heard():
    label = np.repeat([2, 5, 8], 10)
    pitch = np.full(30, 60)
    tracked = np.full(30, 60.0)
    tracked[[10, 20, 21]] = 72.0  # one in ten of class 5, two in ten of class 8
    assert judges.clear_classes(tracked, pitch, label).tolist() == [2, 5]


@pytest.fixture(scope="module")
def notes():
    """Two families, told apart by their partials; the instruments of each differ in their slope."""
    pitch = np.tile(np.arange(40, 80), 4)
    instrument = np.repeat(np.arange(4), 40)
    hollow, full = (1.0, 0.0, 0.6, 0.0, 0.4), (1.0, 0.8, 0.6, 0.5, 0.4)
    sounds = [tone(pitch[instrument == i], tuple(np.array(hollow if i < 2 else full) ** (1 + i % 2))) for i in range(4)]
    labels = {"pitch": pitch, "instrument": instrument, "family": instrument // 2}
    return np.concatenate(sounds), labels


@pytest.fixture(scope="module")
def fitted(notes):
    return judges.fit_judges(*notes, RATE)


def test_the_judges_know_the_notes_they_were_fitted_to(notes, fitted):
    assert fitted.clear.tolist() == [0, 1, 2, 3]
    assert judges.judge_notes(fitted, *notes) == {"pitch": 1.0, "pitch in any octave": 1.0, "family": 1.0}


def test_notes_that_were_not_asked_for_are_found_out(notes, fitted):
    sounds, labels = notes
    wrong = {
        **labels,
        "pitch": labels["pitch"] + np.where(labels["instrument"] == 0, 12, 1),
        "family": 1 - labels["family"],
    }
    found = judges.judge_notes(fitted, sounds, wrong)
    assert found == {"pitch": 0.0, "pitch in any octave": 0.25, "family": 0.0}


def test_loudness_does_not_change_the_family(notes, fitted):
    sounds, labels = notes
    assert judges.judge_notes(fitted, 0.05 * sounds, labels)["family"] == 1.0


def test_hiss_does_not_change_the_family(notes, fitted):
    sounds, labels = notes
    hiss = 0.01 * np.abs(sounds).max(axis=1, keepdims=True) * np.random.default_rng(1).standard_normal(sounds.shape)
    assert judges.judge_notes(fitted, sounds + hiss, labels)["family"] >= 0.95


def test_only_instruments_of_clear_pitch_count(notes):
    sounds, labels = notes
    pitch = labels["pitch"] + 7 * (labels["instrument"] == 3)  # one instrument is never at its label
    fitted = judges.fit_judges(sounds, {**labels, "pitch": pitch}, RATE)
    assert fitted.clear.tolist() == [0, 1, 2]
    assert judges.judge_notes(fitted, sounds, {**labels, "pitch": pitch})["pitch"] == 1.0


def test_labels_of_other_sounds_and_single_families_are_refused(notes):
    sounds, labels = notes
    with pytest.raises(ValueError, match="labels must be of the 159 sounds of x"):
        judges.fit_judges(sounds[1:], labels, RATE)
    with pytest.raises(ValueError, match="family must hold at least two families"):
        judges.fit_judges(sounds, {**labels, "family": np.zeros(160, int)}, RATE)

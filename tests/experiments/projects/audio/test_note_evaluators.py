"""Evaluators of notes on sounds of known pitch and family."""

import numpy as np
import pytest
from sound_sets import RATE, tones

from experiments.projects.audio.note_evaluators import (
    clear_classes,
    evaluate_notes,
    fit_note_evaluators,
    right_pitch,
    track_pitch,
)


@pytest.mark.parametrize(("pitch", "partials"), [(36.25, (1, 2, 3)), (50, (2, 3, 4)), (57, (1, 2, 3)), (84, (1,))])
def test_track_pitch_is_within_a_tenth_of_a_semitone_also_without_a_fundamental(pitch, partials):
    turns = 440 * 2 ** ((pitch - 69) / 12) * np.arange(2000) / RATE
    sound = 0.1 * sum(np.sin(2 * np.pi * k * turns) for k in partials)
    np.testing.assert_allclose(track_pitch(sound[None], RATE), [pitch], atol=0.1)


def test_classes_are_clear_that_are_within_fifty_cents_in_nine_of_ten_notes():
    assert right_pitch(np.array([60.49, 59.51, 60.51, 72.0, np.nan]), 60).tolist() == [True, True, *[False] * 3]
    tracked = np.full(30, 60.0)
    tracked[[10, 20, 21]] = 72.0  # one in ten of class 5, two in ten of class 8
    assert clear_classes(tracked, np.full(30, 60), np.repeat([2, 5, 8], 10)).tolist() == [2, 5]


@pytest.fixture(scope="module")
def notes():
    """Two families of different partials; the instruments of each differ in their decay."""
    found = tones("notes", "train")
    return found.x / 32767, {"pitch": found.pitch, "instrument": found.instrument, "family": found.family}


def test_evaluators_tell_right_notes_from_wrong_ones_whatever_their_loudness_and_hiss(notes):
    sounds, labels = notes
    fitted = fit_note_evaluators(*notes, RATE)
    assert fitted.clear.tolist() == [0, 1, 2, 3]
    assert evaluate_notes(fitted, *notes) == {"pitch": 1.0, "family": 1.0}
    pitch = labels["pitch"] + np.where(labels["instrument"] == 0, 12, 1)
    wrong = {**labels, "pitch": pitch, "family": 1 - labels["family"]}
    assert evaluate_notes(fitted, sounds, wrong) == {"pitch": 0.0, "family": 0.0}
    assert evaluate_notes(fitted, 0.05 * sounds, labels)["family"] == 1.0
    hiss = 0.01 * np.abs(sounds).max(axis=1, keepdims=True) * np.random.default_rng(1).standard_normal(sounds.shape)
    assert evaluate_notes(fitted, sounds + hiss, labels)["family"] >= 0.95


def test_pitch_is_evaluated_on_instruments_of_clear_pitch(notes):
    sounds, labels = notes
    labels = {**labels, "pitch": labels["pitch"] + 7 * (labels["instrument"] == 3)}  # one is never at its label
    fitted = fit_note_evaluators(sounds, labels, RATE)
    assert fitted.clear.tolist() == [0, 1, 2]
    assert evaluate_notes(fitted, sounds, labels)["pitch"] == 1.0

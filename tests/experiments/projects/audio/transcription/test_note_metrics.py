"""From probabilities to notes, and their metrics."""

import numpy as np
import pytest

from experiments.projects.audio.transcription import note_metrics
from scorekit.data.phrases import Note, piano_roll, random_phrase


def test_the_targets_of_a_phrase_decode_to_its_notes():
    """Onsets with half the target beside them, as a perfect network predicts them."""
    notes = random_phrase(7)
    roll, onset = piano_roll(notes, 257), np.zeros((259, 49))
    for note in notes:
        first, key = 1 + round(note.start * 62.5), note.pitch - 36
        onset[first - 1 : first + 2, key] = np.maximum(onset[first - 1 : first + 2, key], (0.5, 1.0, 0.5))
    found = note_metrics.decode(onset[1:-1], roll[:, 36:85] > 0, roll[:, 36:85] / 127)
    np.testing.assert_array_equal(piano_roll(found, 257), roll)
    perfect = dict.fromkeys(note_metrics.METRICS, 1.0)
    assert note_metrics.scores(note_metrics.played_notes(roll), found, 257) == perfect


def test_a_note_needs_an_onset_and_ends_with_its_key_or_the_next_onset():
    onset, frame = np.zeros((12, 3)), np.zeros((12, 3))
    onset[[1, 5], 0], frame[1:9, 0] = 0.8, 0.9  # struck again
    frame[2:8, 1] = 0.9  # active, never struck
    onset[11, 2] = 0.29
    found = note_metrics.decode(onset, frame, np.ones((12, 3)), rate=10)
    assert found == [Note(36, 127, 0.1, 0.5), Note(36, 127, 0.5, 0.9)]
    found = note_metrics.decode(onset, frame, np.ones((12, 3)), onset_threshold=0.25, rate=10)
    assert found[-1] == Note(38, 127, 1.1, 1.2)  # in the last frame


def test_metrics_are_those_of_counted_notes_and_frames():
    played = [Note(60, 80, 0.0, 1.0), Note(64, 80, 1.0, 2.0)]
    late = [Note(60, 80, 0.04, 1.0), Note(64, 80, 1.06, 2.0), Note(65, 80, 0.0, 0.5)]
    found = note_metrics.scores(played, late, 200, rate=100)
    assert found["onset precision"] == pytest.approx(1 / 3)
    assert found["onset recall"] == pytest.approx(1 / 2)
    assert found["onset F1"] == pytest.approx(0.4)
    hits = 200 - 4 - 6  # frames of the two notes but those that they are late by
    assert found["frame F1"] == pytest.approx(2 * hits / (200 + hits + 50))
    for some, others, value in (([], [], 1.0), (played, [], 0.0), ([], played, 0.0)):
        assert set(note_metrics.scores(some, others, 5).values()) == {value}

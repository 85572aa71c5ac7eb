"""From probabilities to notes, their metrics, and pictures of piano rolls."""

import numpy as np
import pytest

from experiments.projects.audio.transcription import note_metrics
from scorekit.data.phrases import Note, piano_roll, random_phrase

RATE = 62.5


def as_probabilities(notes, frames):
    """What a perfect network predicts of notes: onsets with half the target beside them, keys, velocities."""
    roll = piano_roll(notes, frames)[:, 36:85] / 127.0
    onset = np.zeros(roll.shape)
    for note in notes:
        first, key = round(note.start * RATE), note.pitch - 36
        for at, value in ((first - 1, 0.5), (first + 1, 0.5), (first, 1.0)):
            if 0 <= at < frames:
                onset[at, key] = max(onset[at, key], value)
    return onset, (roll > 0).astype(float), roll


def test_the_targets_of_a_phrase_decode_to_its_notes():
    notes = random_phrase(7)
    found = note_metrics.decode(*as_probabilities(notes, 257))
    assert [n[:2] for n in found] == [n[:2] for n in sorted(notes, key=lambda n: (round(n.start * RATE), n.pitch))]
    np.testing.assert_array_equal(piano_roll(found, 257), piano_roll(notes, 257))
    assert note_metrics.scores(note_metrics.played_notes(piano_roll(notes, 257)), found, 257) == dict.fromkeys(
        note_metrics.METRICS, 1.0
    )


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
    assert set(note_metrics.scores([], [], 5).values()) == {1.0}
    assert set(note_metrics.scores(played, [], 5).values()) == {0.0}
    assert set(note_metrics.scores([], played, 5).values()) == {0.0}


def test_standard_errors():
    rng = np.random.default_rng(0)
    values = rng.random(50)
    mean, error = note_metrics.mean_and_error([{"frame F1": float(v)} for v in values])["frame F1"]
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(np.std(values, ddof=1) / 50**0.5)

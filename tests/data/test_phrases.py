"""Random phrases, their piano rolls and their rendering."""

import itertools

import numpy as np
import pytest

from scorekit.data.phrases import Note, piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont


def test_random_phrase_is_playable():
    for seed in range(200):
        phrase = random_phrase(seed)
        assert 10 < len(phrase) < 120
        assert [note.start for note in phrase] == sorted(note.start for note in phrase)
        for note in phrase:
            assert 36 <= note.pitch <= 84
            assert 1 <= note.velocity <= 127
            assert 0 <= note.start < note.end <= 4.096
        for pitch in {note.pitch for note in phrase}:
            held = [note for note in phrase if note.pitch == pitch]
            assert all(a.end < b.start for a, b in itertools.pairwise(held))  # notes of one pitch do not overlap
    sounding = piano_roll(random_phrase(3), 257) > 0
    assert np.median(sounding.sum(axis=1)) >= 3  # polyphonic


def test_random_phrase_depends_on_the_seed_only():
    assert random_phrase(7) == random_phrase(7)
    assert len({tuple(random_phrase(seed)) for seed in range(50)}) == 50
    assert random_phrase(7, seconds=2.0)[-1].end <= 2.0


def test_piano_roll_holds_velocities_of_active_keys():
    notes = [Note(60, 100, 0.0, 0.5), Note(64, 80, 0.16, 0.32), Note(67, 90, 0.8, 0.801)]
    roll = piano_roll(notes, 63)
    times = np.arange(63) / 62.5
    assert roll.dtype == np.uint8
    np.testing.assert_array_equal(roll[:, 60], np.where(times < 0.495, 100, 0))
    np.testing.assert_array_equal(roll[:, 64] > 0, (times >= 0.155) & (times < 0.315))
    np.testing.assert_array_equal(np.flatnonzero(roll[:, 67]), [50])  # shorter than a frame
    assert np.count_nonzero(roll.sum(axis=0)) == 3


def test_rendered_phrase_follows_the_notes():
    """An organ is loud while keys are active, and its spectrum has the partials of those keys."""
    notes = [Note(57, 100, 0.25, 0.75), Note(61, 100, 0.5, 1.0), Note(69, 100, 1.5, 2.0)]
    x = render_phrase(read_soundfont(), 16, notes, sample_rate=8000, seconds=2.0)
    assert np.abs(x).max() == pytest.approx(0.9)
    level = lambda a, b: np.sqrt(np.mean(x[round(a * 8000) : round(b * 8000)] ** 2))
    assert level(0.0, 0.24) < 1e-4
    assert level(1.2, 1.49) < 0.1 * level(0.3, 0.7)

    def partial(pitch, a, b):
        """The magnitude at the pitch relative to a semitone above and below."""
        part = x[round(a * 8000) : round(b * 8000)]
        n = np.arange(len(part))
        at = lambda f: np.abs(np.sum(part * np.hanning(len(n)) * np.exp(-2j * np.pi * f / 8000 * n)))
        f = 440 * 2 ** ((pitch - 69) / 12)
        return at(f) / max(at(f * 2 ** (1 / 12)), at(f * 2 ** (-1 / 12)))

    assert partial(57, 0.27, 0.49) > 5
    assert partial(61, 0.8, 0.99) > 5
    assert partial(69, 1.52, 1.99) > 5
    assert partial(61, 0.27, 0.49) < 2

"""Random phrases, their piano rolls and their rendering."""

import itertools

import numpy as np

from scorekit.data.phrases import Note, piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont
from scorekit.data.synthesis import render_note


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


def test_a_rendered_phrase_is_the_sum_of_its_notes():
    """Onsets are rounded to samples; the last note is cut off at the end, where it is resampled."""
    font, rate = read_soundfont(), 8000
    notes = [Note(57, 100, 0.25, 0.75), Note(61, 100, 0.5001, 1.0001), Note(69, 80, 1.5, 2.0)]
    expected = np.zeros(2 * rate)
    for note in notes:
        sound = render_note(
            font, 16, note.pitch, note.velocity, sample_rate=rate, held=note.end - note.start, seconds=2.0
        )
        first = round(note.start * rate)
        expected[first:] += sound[: len(expected) - first]
    found = render_phrase(font, 16, notes, sample_rate=rate, seconds=2.0)
    np.testing.assert_allclose(found[:-50], 0.9 * expected[:-50] / np.abs(expected).max(), atol=1e-3)
    assert not render_phrase(font, 16, [], sample_rate=rate).any()

"""Random phrases, their piano rolls, their rendering, and the data set."""

import itertools

import numpy as np
import pytest

from experiments.data.builders.phrases import PhrasesConfig, SoundfontPhrases
from experiments.data.builders.sets import load_phrases
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


def test_load_phrases_reads_the_rendered_set(tmp_path, monkeypatch):
    config = PhrasesConfig(name="small", description="", sample_rate=4000, train=3, test=1, programs=(0, 73))
    monkeypatch.setattr(SoundfontPhrases, "BUILDER_CONFIGS", [config])
    train, test = (load_phrases("soundfont_phrases/small", split, tmp_path) for split in ("train", "test"))
    assert (train.x.shape, train.roll.shape, test.x.shape) == ((3, 16384), (3, 257, 128), (1, 16384))
    assert (train.sample_rate, train.frame_rate, train.x.dtype) == (4000, 62.5, np.int16)
    assert sorted(train.instrument) == [0, 0, 73]
    rolls = [piano_roll(random_phrase(seed), 257) for seed in range(3)]
    assert all(any(np.array_equal(roll, expected) for expected in rolls) for roll in train.roll)
    first = next(i for i, roll in enumerate(train.roll) if np.array_equal(roll, rolls[1]))
    sound = render_phrase(read_soundfont(), 73, random_phrase(1), sample_rate=4000)
    np.testing.assert_allclose(train.x[first] / 32768, sound, atol=2.0**-15)
    source = SoundfontPhrases(data_dir=tmp_path, file_format="array_record").as_data_source("train")
    lengths = sorted(len(example["notes"]["pitch"]) for example in source)
    assert lengths == sorted(len(random_phrase(seed)) for seed in range(3))

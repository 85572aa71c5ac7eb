"""Rendered notes and phrases: labels, amplitudes, splits and determinism, read into memory."""

import numpy as np
import pytest

from experiments.data.builders import soundfont
from experiments.data.builders.sets import load_notes, load_phrases
from experiments.data.builders.soundfont import NotesConfig, PhrasesConfig, SoundfontNotes, SoundfontPhrases, is_test
from scorekit.data.phrases import piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont

PROGRAMS, PITCHES = (0, 40, 73), range(60, 68)


def read_small(folder, **fields):
    small = {"sample_rate": 4000, "programs": PROGRAMS, "pitches": PITCHES, "velocities": (50, 127), **fields}
    with pytest.MonkeyPatch.context() as patch:
        configs = {"small": NotesConfig(name="small", description="", **small)}  # TFDS reads BUILDER_CONFIGS but once
        patch.setattr(SoundfontNotes, "builder_configs", configs)
        return {split: load_notes("soundfont_notes/small", split, folder) for split in ("train", "test")}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return read_small(tmp_path_factory.mktemp("data"))


def test_notes_have_their_labels_and_the_pitch_of_their_label(sets):
    """The strongest partial of every note is an integer multiple of its fundamental."""
    train, test = sets["train"], sets["test"]
    assert (train.x.shape, test.x.shape, train.x.dtype) == ((42, 4096), (6, 4096), np.int16)
    assert (train.sample_rate, train.name) == (4000, "soundfont_notes/small")
    np.testing.assert_array_equal(train.family, train.instrument // 8)
    assert {train.instruments[i] for i in train.instrument} == {"Acoustic Grand Piano", "Violin", "Flute"}
    assert {train.families[i] for i in train.family} == {"Piano", "Strings", "Pipe"}
    assert (len(train.instruments), len(train.families)) == (128, 16)
    for s in sets.values():
        spectra = np.abs(np.fft.rfft(s.x * np.hanning(4096)))
        strongest = spectra[:, 40:].argmax(axis=1) + 40
        harmonic = strongest * 4000 / 4096 / (440 * 2 ** ((s.pitch - 69) / 12))
        assert np.all(np.abs(harmonic - np.round(harmonic)) < 0.02)
    peaks = np.abs(train.x.astype(int)).max(axis=1)  # proportional to the squared velocity
    np.testing.assert_array_equal(peaks[train.velocity == 127], round(0.9 * 32768))
    np.testing.assert_allclose(peaks[train.velocity == 50], 0.9 * 32768 * (50 / 127) ** 2, rtol=1e-3)


def test_splits_share_no_pitch_of_an_instrument(sets):
    pairs = {split: set(zip(s.instrument.tolist(), s.pitch.tolist(), strict=True)) for split, s in sets.items()}
    assert pairs["train"] | pairs["test"] == {(i, p) for i in PROGRAMS for p in PITCHES}
    assert not pairs["train"] & pairs["test"]
    tested = np.array([[is_test(program, pitch) for pitch in range(36, 85)] for program in range(112)])
    assert set(tested.sum(axis=1)) == {6, 7}  # all instruments ...
    assert tested.sum(axis=0).min() >= 14  # ... and all pitches have test notes
    for s in sets.values():
        assert np.sum(s.velocity == 50) == np.sum(s.velocity == 127) == len(s.x) // 2


def test_preparation_is_deterministic_and_leaves_silent_notes_out(sets, tmp_path, monkeypatch):
    render = soundfont.render_note
    monkeypatch.setattr(soundfont, "render_note", lambda *given, **timing: (given[2] != 61) * render(*given, **timing))
    again = read_small(tmp_path)
    for split, s in sets.items():
        np.testing.assert_array_equal(again[split].x, s.x[s.pitch != 61])
    assert 61 in {*sets["train"].pitch, *sets["test"].pitch}


def test_phrases_are_those_of_their_seeds(tmp_path, monkeypatch):
    config = PhrasesConfig(name="small", description="", sample_rate=4000, train=3, test=1, programs=(0, 73))
    monkeypatch.setattr(SoundfontPhrases, "builder_configs", {config.name: config})
    train, test = (load_phrases("soundfont_phrases/small", split, tmp_path) for split in ("train", "test"))
    assert (train.x.shape, train.roll.shape, test.x.shape) == ((3, 16384), (3, 257, 128), (1, 16384))
    assert (train.sample_rate, train.frame_rate, train.x.dtype) == (4000, 62.5, np.int16)
    assert sorted(train.instrument) == [0, 0, 73]
    rolls = [piano_roll(random_phrase(seed), 257) for seed in range(3)]
    assert all(any(np.array_equal(roll, expected) for expected in rolls) for roll in train.roll)
    first = next(i for i, roll in enumerate(train.roll) if np.array_equal(roll, rolls[1]))
    sound = render_phrase(read_soundfont(), 73, random_phrase(1), sample_rate=4000)
    np.testing.assert_allclose(train.x[first] / 32768, sound, atol=2.0**-15)

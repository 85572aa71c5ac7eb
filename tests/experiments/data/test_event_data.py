"""Music as events for models: the same notes as voices, windows of performances."""

import itertools
import types

import jax
import numpy as np
import pytest
from programs import error_of

from experiments.data import rolls
from experiments.data.performances import Performances, performed_phrase, window
from experiments.data.roll_sets import FIRST_TEST_SEED, WINDOW, MidiFiles, Rolls, drawn_song
from experiments.data.symbols import Symbols, events, raster
from scorekit.data import midi
from scorekit.data.phrases import Note, random_phrase

SPLITS = {"train_split": "train[:20]", "test_split": "test[:12]"}


def as_events(kind, **arguments):
    """A small set as events."""
    inner = kind(**SPLITS)
    coding = events(inner, **arguments)
    return Symbols(inner, coding, raster(coding.grid))


def test_pieces_are_of_seeds_and_of_files_in_windows(tmp_path):
    dataset, song = Rolls(**SPLITS, label="instrument"), drawn_song(FIRST_TEST_SEED + 3)
    assert (dataset.examples, dataset.num_classes, dataset.only_symbols) == (20, 128, True)
    assert dataset.test["label"][3] == song.instrument
    within = [song.states[at : at + WINDOW].tolist() for at in range(len(song.states) - WINDOW + 1)]
    assert dataset.test["x"][3].tolist() in within
    for i in range(3):
        midi.write_score(tmp_path / f"{i}.mid", [Note(60 + i, 64, 0.0, 0.128), Note(70 + i, 64, 5.0, 8.192)])
    files = MidiFiles(path=str(tmp_path))
    assert (files.examples, files.held_out()) == (2, 2)  # both windows of a file of 128 steps
    assert [rolls.to_played(x)[0].pitch for x in files.test["x"]] == [60, 70]


def test_splits_that_are_not_there_are_errors(tmp_path):
    for given in ("train", "test[:0]", "test[3:]"):
        words = f"config.data.test_split={given}: must be test, or the first pieces of it, as test[:100]"
        assert words in error_of(Rolls, test_split=given)
    words = "config.data.test_split=train: must be another folder than data.train_split"
    assert words in error_of(MidiFiles, path=str(tmp_path), test_split="train")


def test_events_describe_the_notes_of_voices_exactly(capsys):
    dataset = as_events(Rolls, resolution=0.064, velocities=1, length=160)
    raw = [dataset.inner.test["x"], dataset.inner.batch(0, 0, 20)["x"]]
    assert dataset.batch(0, 0, 20)["x"].shape == (20, 160)
    for x in raw:
        codes = dataset.coding.encode(x)
        decoded = np.asarray(jax.jit(dataset.from_model)(codes))
        images = rolls.pictures(rolls.from_codes(rolls.to_codes(x)))
        np.testing.assert_array_equal(dataset.view(decoded).images, images)
        assert [rolls.to_played(states) for states in decoded] == [rolls.to_played(states) for states in x]
    noise = np.random.default_rng(0).integers(0, dataset.coding.num_codes, (3, 160))  # of an untrained model
    assert "events" not in capsys.readouterr().out
    assert np.isfinite(dataset.from_model(noise)).all()
    assert "3 of 3 sequences of events repaired, such as: " in capsys.readouterr().out


def test_examples_that_are_too_long_are_cut_and_counted(capsys):
    coding = events(Rolls(**SPLITS), 0.064, 1, length=40)
    assert "12 held-out examples have more than 40 events and are cut" in capsys.readouterr().out
    assert coding.grid == (40,)
    with pytest.raises(ValueError, match="name must be codes, mu_law or pixels: tone has no notes"):
        events(types.SimpleNamespace(name="tone"))


def test_performances_deviate_from_the_phrases_and_are_windows_of_notes():
    phrase, performed = random_phrase(3, 8.192), performed_phrase(3)
    assert len(performed) == len(phrase)
    assert sorted(n.pitch for n in performed) == sorted(n.pitch for n in phrase)
    beat = 60 / np.random.default_rng(3).integers(70, 131)
    onsets = np.array([note.start for note in phrase]) / beat * 4
    np.testing.assert_allclose(onsets, np.round(onsets), atol=1e-9)  # the tempo is that of the phrase
    apart = [
        a.start - b.start for a, b in zip(performed, sorted(phrase, key=lambda n: (n.start, n.pitch)), strict=True)
    ]
    assert 0.005 < np.std(apart) < 0.3
    assert len({note.velocity for note in performed}) > 15
    for pitch in {note.pitch for note in performed}:
        own = [note for note in performed if note.pitch == pitch]
        assert all(a.end <= b.start for a, b in itertools.pairwise(own))
    assert window([Note(60, 9, 0.5, 3.5), Note(61, 9, 4.0, 5.0)], 1.0, 2.0) == [Note(60, 9, 0.0, 2.0)]
    dataset = as_events(Performances, length=144)
    inner, x = dataset.inner, dataset.inner.test["x"]
    np.testing.assert_array_equal(inner.of_notes([inner.to_notes(row) for row in x]), x)
    decoded = np.asarray(jax.jit(dataset.from_model)(dataset.test["x"]))
    assert [len(inner.to_notes(row)) for row in decoded] == [len(inner.to_notes(row)) for row in x]
    onset = lambda part: np.sort(part[..., 2].ravel())
    np.testing.assert_allclose(onset(decoded), onset(x), atol=0.0051)
    assert dataset.view(decoded).images.shape == (12, 49, 32, 1)

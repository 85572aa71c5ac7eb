"""Music as events for models: the same notes as voices, windows of performances, sequences that end, scores."""

import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_like
from programs import error_of

from experiments.data import rolls, scores
from experiments.data.performances import Performances, performed_phrase, window
from experiments.data.roll_sets import FIRST_TEST_SEED, WINDOW, MidiFiles, Rolls, drawn_song
from experiments.data.symbols import Symbols, events, raster
from experiments.projects.audio.configs import events as events_config
from experiments.tasks.sequences import model as sequences
from scorekit import autoregressive as ar
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
        found = np.asarray(jax.jit(dataset.from_model)(codes))
        images = rolls.pictures(rolls.from_codes(rolls.to_codes(x)))
        np.testing.assert_array_equal(dataset.view(found).images, images)
        assert [rolls.to_played(states) for states in found] == [rolls.to_played(states) for states in x]
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


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["", "masked"])
def test_nothing_but_the_end_follows_an_end(argument):
    """Of all sequences of three codes: probabilities sum to 1, and a code after an end has probability 0."""
    config = events_config.get_config(argument)
    config.network.update(depth=1, width=8, heads=2)
    coding = types.SimpleNamespace(num_codes=3, end=0)
    dataset = types.SimpleNamespace(condition=None, coding=coding, shape=(3,), num_classes=1, positions=None)
    model = sequences.build_model(config, dataset)
    params = random_like(sequences.init_params(model, jax.random.key(0)), 0.5)
    x = np.stack(np.unravel_index(np.arange(27), (3,) * 3), axis=1)
    ended = [np.all(row[np.argmax(row == 0) :] == 0) or not np.any(row == 0) for row in x]
    if model.process is None:
        chain = sequences.conditionals(model, params, np.zeros(27, np.int32))
        p = np.exp(ar.log_prob(chain, x))
        assert p.sum() == pytest.approx(1, abs=1e-5)
        assert p[ended].sum() == pytest.approx(1, abs=1e-5)
        state, rows = chain.init_state(27, 3), []
        for i in range(3):
            row, state = chain.step(state, x[:, i - 1])
            rows.append(row)
        np.testing.assert_allclose(jnp.stack(rows, axis=1), chain.outputs(x), atol=1e-4)
    else:
        mask = model.process.mask
        z = np.array([[mask, 0, mask], [mask, mask, 2], [mask, 0, 1], [0, mask, mask]])
        p = np.exp(sequences.token_denoiser(model, params, np.zeros(4, np.int32))(z, 0.5))
        np.testing.assert_allclose(p[0, 2], [1, 0, 0])
        np.testing.assert_allclose(p[3, 1:], [[1, 0, 0]] * 2)
        np.testing.assert_array_equal(p[[1, 1, 2], [0, 1, 0], 0], 0)
        assert np.all(p[0, 0] > 0)  # before an end there may be anything
        np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-5)


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
    found = np.asarray(jax.jit(dataset.from_model)(dataset.test["x"]))
    assert found.shape == x.shape
    for before, after in zip(x, found, strict=True):
        assert len(inner.to_notes(before)) == len(inner.to_notes(after))
    onset = lambda part: np.sort(part[..., 2].ravel())
    np.testing.assert_allclose(onset(found), onset(x), atol=0.0051)
    assert dataset.view(found).images.shape == (12, 49, 32, 1)


def test_the_voices_of_parts_are_kept_and_pitches_moved_by_octaves():
    parts = [[Note(60, 64, 0.0, 0.256)], [Note(60, 64, 0.0, 0.128), Note(90, 64, 0.128, 0.256)]]
    states = scores.song_of_parts(parts).states
    assert states.shape == (64, 5)
    assert states[:4, [4, 0]].tolist() == [[49, 49], [50, 50], [50, 85], [50, 86]]
    assert rolls.to_played(states)[-1].pitch == 78
    with pytest.raises(ValueError, match="parts must be from 1 to 5, with notes, got 6"):
        scores.song_of_parts([parts[0]] * 6)


@pytest.mark.external
def test_scores_of_music21_are_voices_of_a_melody_that_is_theirs(tmp_path):
    pytest.importorskip("music21")
    given = {"set": "chorales", "data_dir": str(tmp_path), "train_split": "train[:9]", "test_split": "test[:1]"}
    dataset = scores.Scores(**given)
    assert (dataset.examples, dataset.name) == (9, "scores/chorales")
    assert "322" not in dataset.summary()
    first = dataset.songs[0].states  # BWV 269: the melody begins G4 G4 D5 B4
    melody = rolls.to_played(np.where(np.arange(5) == 4, first, 0))
    assert [note.pitch for note in melody][:4] == [67, 67, 74, 71]
    again = scores.Scores(**given)  # from the file
    np.testing.assert_array_equal(again.test["x"], dataset.test["x"])
    for name in ("fiddle", "folk"):
        (parts,) = next(scores.read_pieces(name))
        assert len(parts) > 10

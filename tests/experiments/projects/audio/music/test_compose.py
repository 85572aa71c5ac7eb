"""Music in voices: exact round trips, keys, and what is given to a composition stays as it is."""

import functools
import json

import jax
import mido
import numpy as np
import pytest
from parameters import random_like
from programs import save_run, succeeds

from experiments import data
from experiments.cli.config import ConfigError
from experiments.configs.music import smoke_rolls
from experiments.data import rolls
from experiments.data.keys import key_of_notes
from experiments.data.roll_sets import WINDOW, drawn_song
from experiments.models.samples import NotFinite
from experiments.projects.audio.music import composing, pieces, statistics
from experiments.reporting import samples
from experiments.tasks.sequences import model as sequences
from experiments.tasks.sequences.sampling import make_sampler
from experiments.tasks.task import Run
from scorekit import _files as files
from scorekit.data import midi
from scorekit.data.phrases import Note, random_phrase

PHRASES = [rolls.quantise(random_phrase(seed, 8.192)) for seed in range(40)]


@pytest.mark.parametrize("seed", range(8))
def test_phrases_survive_as_voices_and_codes(seed):
    states, left_out = rolls.to_states(PHRASES[seed], 128)
    assert left_out == 0
    assert rolls.to_played(states) == [note._replace(last=min(note.last, 128)) for note in PHRASES[seed]]
    codes = rolls.to_codes(states)
    np.testing.assert_array_equal(rolls.from_codes(codes), states)
    assert rolls.quantise(rolls.to_notes(states)) == rolls.to_played(states)


def test_a_repeated_note_is_not_a_held_one():
    notes = [Note(60, 80, 0.0, 0.256), Note(60, 80, 0.256, 0.512)]
    held = [Note(60, 80, 0.0, 0.512)]
    (twice, _), (once, _) = (rolls.to_states(rolls.quantise(each), 8) for each in (notes, held))
    assert [len(rolls.to_played(each)) for each in (twice, once)] == [2, 1]
    assert np.sum(rolls.to_codes(twice) >= rolls.FIRST) == 2


def test_a_window_begins_with_the_notes_that_are_held():
    states, _ = rolls.to_states(rolls.quantise([Note(60, 80, 0.0, 0.64)]), 10)
    codes = rolls.to_codes(states[4:])
    assert codes.max() == rolls.FIRST + 60 - rolls.LOWEST
    np.testing.assert_array_equal(rolls.from_codes(np.minimum(codes, rolls.HOLD), states[3])[1:], states[5:])
    assert not np.any(rolls.from_codes(np.minimum(codes, rolls.HOLD)))


def test_more_than_five_notes_at_once_are_counted():
    notes = rolls.quantise([Note(48 + 3 * i, 80, 0.0, 1.0) for i in range(7)])
    states, left_out = rolls.to_states(notes, 16)
    assert left_out == 2
    assert {note.pitch for note in rolls.to_played(states)} >= {48, 66}


def test_the_key_is_that_of_which_phrases_were_drawn():
    right = 0
    for seed, notes in enumerate(PHRASES):
        rng = np.random.default_rng(seed)
        rng.integers(70, 131)
        drawn = int(rng.integers(12)) + 12 * int(rng.integers(2))
        right += drawn == key_of_notes((note.pitch, note.last - note.first) for note in notes)
    assert right >= 37


class Counting:
    """Draws a new note in every cell."""

    def __init__(self, code):
        self.code, self.seen = code, []

    def __call__(self, key, codes, known, labels):
        self.seen.append((codes, known))
        return np.where(known, codes, self.code)


@pytest.mark.parametrize("code", [rolls.HOLD, rolls.FIRST + 30])
def test_what_is_given_is_kept(code):
    song = drawn_song(3).states[:100]
    continued = composing.compose(Counting(code), composing.continued(song, 70), [0, 1], 0, 32)
    assert continued.shape == (2, 170, rolls.VOICES)
    np.testing.assert_array_equal(continued[:, :100], np.stack([song, song]))
    (filled,) = composing.compose(Counting(code), composing.without(song, 40, 60), [0], 0, 32)
    others = [note for note in rolls.to_played(song) if not 40 <= note.first < 60]
    assert set(others) <= set(rolls.to_played(filled))
    assert all(40 <= note.first < 60 for note in set(rolls.to_played(filled)) - set(others))


def test_a_drawn_note_does_not_end_a_given_one_on_its_key():
    melody, _ = rolls.to_states(rolls.quantise([Note(66, 80, 0.0, 1.28)]), 24)
    taken = rolls.FIRST + 66 - rolls.LOWEST
    (found,) = composing.compose(Counting(taken), composing.harmonised(melody), [0], 0, 32)
    assert rolls.Played(66, 0, 20) in rolls.to_played(found)
    assert not (found[:20, :-1] > 0).any()
    assert (found[20:, :-1] > 0).all()


def test_the_holding_of_a_given_note_is_left_out_before_the_next_window_is_drawn():
    song = drawn_song(3).states[:100]
    fill = Counting(rolls.HOLD)
    composing.compose(fill, composing.continued(song, 100), [0], 0, 32)
    assert len(fill.seen) > 1
    assert not (fill.seen[-1][0][:, : 200 - 100 - 68] > 0).any()


def test_a_gap_in_which_all_voices_are_held_is_an_error():
    held = np.full((20, rolls.VOICES), 50, np.uint8)
    held[0] = 49
    with pytest.raises(ValueError, match="must leave a voice to draw"):
        composing.without(held, 5, 10)


def test_bars_are_of_the_tempo_that_is_there_from_the_beginning(tmp_path):
    file = mido.MidiFile()
    file.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=10**6, time=480)]))
    file.save(tmp_path / "later.mid")
    with pytest.raises(ConfigError, match=r"must be of a file of one tempo, .*later.mid has 2"):
        pieces.seconds_per_beat(str(tmp_path / "later.mid"))
    file.tracks[0][0].time = 0
    file.save(tmp_path / "first.mid")
    assert pieces.seconds_per_beat(str(tmp_path / "first.mid")) == 1.0


def test_the_preview_has_held_out_pieces_beneath_samples(tmp_path, monkeypatch):
    config, seen = smoke_rolls.get_config(), {}
    dataset = data.build(config)
    keep = lambda path, cells, rows, title: seen.update(cells=cells, rows=rows)
    monkeypatch.setattr(samples, "grid", keep)
    real = dataset.real(dataset.preview().reference)
    samples.sample_picture(tmp_path / "a.png", dataset, np.full_like(real, -1.0), "")
    assert [len(row) for row in seen["cells"]] == [len(real), len(real)]
    assert seen["rows"] == ["sample", "held out"]
    np.testing.assert_array_equal(np.stack(seen["cells"][1]), real)


def test_windows_of_a_long_piece_are_given_what_was_drawn_before():
    fill = Counting(rolls.FIRST)
    states = composing.compose(fill, composing.nothing(4 * WINDOW), [0], 0, 16)
    assert (states == 1).all()
    assert [known.all(axis=1).sum() for _, known in fill.seen] == [0, 16, 16, 16, 16]
    assert all((codes[:, known] == rolls.FIRST).all() for codes, known in fill.seen)


def test_a_melody_stays_the_highest_voice():
    melody, _ = rolls.to_states(rolls.quantise([Note(60, 80, 0.3 * i, 0.3 * i + 0.2) for i in range(9)]), 45)
    (found,) = composing.compose(Counting(rolls.REST), composing.harmonised(melody), [0], 0, 32)
    assert rolls.to_played(found) == rolls.to_played(melody)
    with pytest.raises(ValueError, match="one note at a time, got two at"):
        composing.harmonised(drawn_song(0).states)


def test_midi_files_are_training_data(tmp_path, monkeypatch):
    for seed in range(3):
        midi.write_score(tmp_path / f"{seed}.mid", random_phrase(seed, 9.0), programs=40)
    config = smoke_rolls.get_config()
    config.data.name, config.data.path, config.data.label = "midi", str(tmp_path), "instrument"
    config.data.train_split, config.data.test_split = "train", "test"
    dataset = data.build(config)
    batch = dataset.batch(0, 1, 4)
    assert batch["x"].shape == (4, WINDOW, rolls.VOICES)
    assert set(batch["label"]) == {40}
    assert dataset.test["x"].shape[0] == 2  # windows of one file
    (tmp_path / "3.mid").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=r"^config.data.path: .*3\.mid: must be in .*, it is /dev/zero$"):
        data.build(config)
    (tmp_path / "3.mid").unlink()
    monkeypatch.setattr(files, "_FREE", 1000)
    monkeypatch.setattr(files, "_RATIO", 1e-9)
    with pytest.raises(ConfigError, match=r"^config.data.path: the music up to .*\.mid unpacks from .* bytes, the"):
        data.check_rows(config, data.build(config))
    config.data.path = str(tmp_path / "none")
    with pytest.raises(ConfigError, match="must have two MIDI files"):
        data.build(config)


@functools.cache
def opened(model):
    """The config of a small model, and a run with the parameters of a beginning."""
    config = smoke_rolls.get_config()
    if model == "autoregressive":
        config.model, config.network.name = model, "causal_transformer"
        config.sampling.steps = None
    dataset = sequences.load_data(config)
    built = sequences.build_model(config, dataset)
    params = sequences.init_params(built, jax.random.key(0))
    return config, Run(dataset, built, make_sampler(config, built, dataset), params, 0)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["masked", "autoregressive"])
def test_models_draw_what_is_not_given(model):
    config, run = opened(model)
    fill = composing.make_fill(config, run, 2.0)
    song = drawn_song(3).states[:40]
    states = composing.compose(fill, composing.continued(song, 24), [0, 1], 0, 32)
    np.testing.assert_array_equal(states[:, :40], np.stack([song, song]))
    assert states[:, 40:].any()
    diverged = run._replace(params=random_like(run.params, 1e30))
    with pytest.raises(NotFinite, match="2 of 2 samples are not finite"):
        composing.compose(composing.make_fill(config, diverged, 2.0), composing.continued(song, 24), [0, 1], 0, 32)
    assert (states[0] != states[1]).any()
    again = composing.compose(fill, composing.continued(song, 24), [0, 1], 0, 32)
    np.testing.assert_array_equal(states, again)
    if model == "masked":
        (filled,) = composing.compose(fill, composing.without(song, 10, 20), [0], 0, 32)
        others = {note for note in rolls.to_played(song) if not 10 <= note.first < 20}
        new = set(rolls.to_played(filled)) - others
        assert others <= set(rolls.to_played(filled))
        assert new
        assert all(10 <= note.first < 20 for note in new)
        melody = np.where(np.arange(rolls.VOICES) == rolls.VOICES - 1, song, 0).astype(song.dtype)
        (harmony,) = composing.compose(fill, composing.harmonised(melody), [0], 0, 32)
        assert set(rolls.to_played(melody)) < set(rolls.to_played(harmony))


@pytest.mark.slow
def test_compositions_of_a_run_are_evaluated(tmp_path):
    for name in ("masked", "autoregressive"):
        config, run = opened(name)
        save_run(tmp_path / name, config, run.params)
    flags = [f"--workdir={tmp_path}/masked", f"--others={tmp_path}/autoregressive", "--num=10", "--long=2"]
    out = succeeds("projects.audio.music.evaluate_compositions", *flags)
    found = json.loads((tmp_path / "masked" / "compositions.json").read_text())
    kinds = [row[:2] for row in found["bits"]]
    assert kinds == [["Markov chain", "exact"], ["masked", "bound"], ["autoregressive", "exact"]]
    log_cell = rolls.VOICES * np.log2(rolls.NUM_CODES)  # a network that begins knows nothing
    assert found["bits"][2][2] == pytest.approx(log_cell, rel=0.05)
    assert found["bits"][0][2] < 0.5 * log_cell
    assert {*found["distances"]} == {"held-out phrases", "training phrases", *(name for name, _ in kinds)}
    assert len(found["long"]) == 3 * 2
    noise, real = (found["distances"][name]["intervals"][0] for name in ("masked", "training phrases"))
    assert noise > real
    assert f"{tmp_path}/masked/compositions.html" in out


def test_statistics_tell_a_chain_from_phrases_and_two_halves_apart_less():
    states = np.stack([rolls.to_states(notes, 128)[0][:WINDOW] for notes in PHRASES])
    chain = statistics.Chain(rolls.to_codes(states[:20]))
    halves = statistics.distances(states[:20], states[20:])
    drawn = statistics.distances(chain.sample(20, WINDOW, 0), states[20:])
    for name in ("intervals", "polyphony"):
        assert drawn[name][0] > 2 * halves[name][0]
    assert all(value == 0 for value, _ in statistics.distances(states, states).values())


@pytest.mark.parametrize("bar", [30, 41, 54])
def test_music_that_repeats_by_the_bar_is_similar_to_itself(bar):
    once = np.random.default_rng(0).integers(1, 50, (bar, rolls.VOICES))
    states = np.concatenate([once, once, once])
    assert statistics.measure(states)["similarity"] == pytest.approx(1)
    shuffled = np.random.default_rng(1).permutation(states)
    assert statistics.measure(shuffled)["similarity"] < 0.8


def test_the_bits_of_a_chain_are_a_code_length():
    codes = np.zeros((1, 2, rolls.VOICES), int)
    chain = statistics.Chain(codes, smoothing=1.0)
    first, then = 2 / (1 + rolls.NUM_CODES), 2 / (1 + rolls.NUM_CODES)
    np.testing.assert_allclose(chain.bits(codes), -rolls.VOICES * np.log2(first * then) / 2)
    drawn = rolls.to_codes(chain.sample(50, 4, 0))
    assert drawn.shape == (50, 4, rolls.VOICES)

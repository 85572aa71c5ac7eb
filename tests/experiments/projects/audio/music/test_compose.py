"""Compositions: what is given stays as it is, models draw the rest, and statistics of music."""

import functools
import json

import jax
import numpy as np
import pytest
import small_configs
from parameters import random_like
from programs import fails, save_run, succeeds

from experiments.data import rolls
from experiments.data.roll_sets import WINDOW, drawn_song
from experiments.models.samples import NotFinite
from experiments.projects.audio.music import composing, statistics
from experiments.tasks.sequences import model as sequences
from experiments.tasks.sequences.sampling import make_sampler
from experiments.tasks.task import Run
from scorekit.data import midi
from scorekit.data.phrases import Note, random_phrase

PHRASES = [rolls.quantise(random_phrase(seed, 8.192)) for seed in range(40)]


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


@functools.cache
def opened(model):
    """The config of a small model, and a run with the parameters of a beginning."""
    config = small_configs.rolls()
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
        melody = np.where(np.arange(rolls.VOICES) == rolls.VOICES - 1, song, 0).astype(song.dtype)
        (harmony,) = composing.compose(fill, composing.harmonised(melody), [0], 0, 32)
        assert set(rolls.to_played(melody)) < set(rolls.to_played(harmony))


@pytest.mark.slow
def test_a_piece_is_composed_from_a_shell(tmp_path):
    config, run = opened("autoregressive")
    save_run(tmp_path / "rolls", config, run.params)
    given = ["projects.audio.music.compose", f"--workdir={tmp_path}/rolls", f"--out={tmp_path}/out", "--num=1"]
    succeeds(*given, "--seconds=4.096", "--key=Am", "--program=73")
    files = [f"0{end}" for end in (".mid", "_rendered.png", "_rendered.wav", "_roll.png")]
    assert sorted(path.name for path in (tmp_path / "out").glob("0*")) == files
    (known,) = json.loads((tmp_path / "out" / "compositions.json").read_text())
    assert (known["key"], known["program"], known["task"]) == ("A minor", 73, "new")
    assert (tmp_path / "out" / "report.html").read_text().count("<audio") == 1
    midi.write_score(tmp_path / "low.mid", [Note(30, 90, 0.0, 0.4)])
    for flags, message in (
        (["--continue=none.mid"], "--continue=none.mid: "),
        ([f"--continue={tmp_path}/low.mid"], "must have notes from 36 to 84, got 1 of 30"),
        ([f"--harmonise={tmp_path}/low.mid"], "masked for --harmonise"),
        (["--octaves"], "--octaves: must be left out without a MIDI file"),
        (["--seconds=0.01"], "--seconds=0.01: must be finite, at least 0.064 s"),
    ):
        assert message in fails(*given, *flags, "--overwrite", at_once=False)


@pytest.mark.slow
def test_compositions_of_a_run_are_evaluated(tmp_path):
    for name in ("masked", "autoregressive"):
        config, run = opened(name)
        save_run(tmp_path / name, config, run.params)
    flags = [f"--workdir={tmp_path}/masked", f"--others={tmp_path}/autoregressive", "--num=10"]
    out = succeeds("projects.audio.music.evaluate_compositions", *flags)
    found = json.loads((tmp_path / "masked" / "compositions.json").read_text())
    kinds = [row[:2] for row in found["bits"]]
    assert kinds == [["Markov chain", "exact"], ["masked", "bound"], ["autoregressive", "exact"]]
    log_cell = rolls.VOICES * np.log2(rolls.NUM_CODES)  # a network that begins knows nothing
    assert found["bits"][2][2] == pytest.approx(log_cell, rel=0.05)
    assert found["bits"][0][2] < 0.5 * log_cell
    assert {*found["distances"]} == {"held-out phrases", "training phrases", "masked", "autoregressive"}
    noise, real = (found["distances"][name]["intervals"][0] for name in ("masked", "training phrases"))
    assert noise > real
    assert f"{tmp_path}/masked/compositions.html" in out


def test_statistics_tell_shuffled_steps_from_phrases_and_two_halves_apart_less():
    states = np.stack([rolls.to_states(notes, 128)[0][:WINDOW] for notes in PHRASES])
    halves = statistics.distances(states[:20], states[20:])
    shuffled = np.random.default_rng(0).permuted(states[:20], axis=1)
    for name in ("intervals", "polyphony"):
        assert statistics.distances(shuffled, states[20:])[name][0] > 2 * halves[name][0]
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

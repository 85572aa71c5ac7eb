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
from scorekit.data.phrases import random_phrase


def drawing(code, seen):
    """Draws a code in every cell, and notes the windows that it is given."""

    def fill(key, codes, known, labels):
        seen.append((codes, known))
        return np.where((np.arange(WINDOW) < known)[:, None], codes, code)

    return fill


@pytest.mark.parametrize("code", [rolls.HOLD, rolls.FIRST + 30])
def test_what_is_given_is_kept_and_not_held_on(code):
    song, seen = drawn_song(3).states[:100], []
    states = composing.compose(drawing(code, seen), song, 100, [0, 1], 0, 32)
    np.testing.assert_array_equal(states[:, :100], np.stack([song, song]))
    assert [known for _, known in seen] == [32, 32, 32, 60]
    held = code == rolls.HOLD
    np.testing.assert_array_equal(states[:, 100:], np.full((2, 100, rolls.VOICES), 0 if held else 61))
    assert (seen[-1][0] > 0).any() == (not held)  # left out before the next window is drawn


def test_windows_of_a_long_piece_are_given_what_was_drawn_before():
    seen = []
    states = composing.compose(drawing(rolls.FIRST, seen), composing.NOTHING, 4 * WINDOW, [0], 0, 16)
    np.testing.assert_array_equal(states, np.ones((1, 4 * WINDOW, rolls.VOICES)))
    assert [known for _, known in seen] == [0, 16, 16, 16, 16]
    assert all((codes[:, :known] == rolls.FIRST).all() for codes, known in seen)


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
    song, fill = drawn_song(3).states[:40], composing.make_fill(config, run, 2.0)
    states, again = (composing.compose(fill, song, 24, [0, 1], 0, 32) for _ in range(2))
    np.testing.assert_array_equal(states, again)
    np.testing.assert_array_equal(states[:, :40], np.stack([song, song]))
    assert states[:, 40:].any()
    assert (states[0] != states[1]).any()
    diverged = composing.make_fill(config, run._replace(params=random_like(run.params, 1e30)), 2.0)
    with pytest.raises(NotFinite, match="2 of 2 samples are not finite"):
        composing.compose(diverged, song, 24, [0, 1], 0, 32)


@pytest.mark.slow
def test_pieces_are_composed_and_evaluated_from_a_shell(tmp_path):
    for name in ("masked", "autoregressive"):
        config, run = opened(name)
        save_run(tmp_path / name, config, run.params)
    given = ["projects.audio.music.compose", f"--workdir={tmp_path}/masked", f"--out={tmp_path}/out", "--num=1"]
    succeeds(*given, "--seconds=4.096", "--key=Am", "--program=73")
    for ending in (".mid", "_rendered.png", "_rendered.wav", "_roll.png"):
        assert (tmp_path / "out" / f"0{ending}").exists()
    (known,) = json.loads((tmp_path / "out" / "compositions.json").read_text())
    assert (known["key"], known["program"], known["task"]) == ("A minor", 73, "new")
    assert (tmp_path / "out" / "report.html").read_text().count("<audio") == 1
    for flag, message in (
        ("--continue=none.mid", "--continue=none.mid: "),
        ("--key=H", "--key=H: "),
        ("--seconds=0.01", "--seconds=0.01: must be finite and at least 0.064"),
    ):
        assert message in fails(*given, flag, "--overwrite", at_once=False)
    flags = [f"--workdir={tmp_path}/masked", f"--others={tmp_path}/autoregressive", "--num=10"]
    succeeds("projects.audio.music.evaluate_compositions", *flags)
    found = json.loads((tmp_path / "masked" / "compositions.json").read_text())
    assert [row[1] for row in found["bits"]] == ["exact", "bound", "exact"]  # a chain, masked, autoregressive
    log_cell = rolls.VOICES * np.log2(rolls.NUM_CODES)  # a network that begins knows nothing
    assert found["bits"][2][2] == pytest.approx(log_cell, rel=0.05)
    assert found["bits"][0][2] < 0.5 * log_cell
    assert {*found["distances"]} == {"held-out phrases", "training phrases", "masked", "autoregressive"}
    assert found["distances"]["masked"]["intervals"][0] > found["distances"]["training phrases"]["intervals"][0]


def test_statistics_tell_shuffled_steps_from_phrases_and_two_halves_apart_less():
    phrases = [rolls.quantise(random_phrase(seed, 8.192)) for seed in range(40)]
    states = np.stack([rolls.to_states(notes, 128)[0][:WINDOW] for notes in phrases])
    halves = statistics.distances(states[:20], states[20:])
    shuffled = np.random.default_rng(0).permuted(states[:20], axis=1)
    for name in ("intervals", "polyphony"):
        assert statistics.distances(shuffled, states[20:])[name][0] > 2 * halves[name][0]
    assert all(value == 0 for value, _ in statistics.distances(states, states).values())
    for bar in (30, 54):  # music that repeats by the bar is similar to itself
        repeated = np.tile(np.random.default_rng(0).integers(1, 50, (bar, rolls.VOICES)), (3, 1))
        assert statistics.measure(repeated)["similarity"] == pytest.approx(1)
        assert statistics.measure(np.random.default_rng(1).permutation(repeated))["similarity"] < 0.8


def test_the_bits_of_a_chain_are_a_code_length():
    codes = np.zeros((1, 2, rolls.VOICES), int)
    chain = statistics.Chain(codes, smoothing=1.0)
    np.testing.assert_allclose(chain.bits(codes), -rolls.VOICES * np.log2(2 / (1 + rolls.NUM_CODES)))

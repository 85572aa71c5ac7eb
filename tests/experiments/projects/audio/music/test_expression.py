"""Timing and dynamics of performances: what a roll does not hold, and the programs on models of events."""

import json

import jax
import numpy as np
import pytest
from programs import save_run, succeeds

from experiments.configs.music import events_transformer, performances, smoke_rolls
from experiments.data import rolls
from experiments.projects.audio.music import expression, statistics
from experiments.tasks.sequences import model as sequences
from scorekit.data.phrases import Note


def test_a_roll_has_no_deviations():
    (music, _), (other, _) = expression.held_out(0, 20), expression.held_out(20, 20)
    rolled = [rolls.to_notes(rolls.to_states(rolls.quantise(notes), 32)[0]) for notes in music]
    assert all(expression.measure(notes)["mean deviation"] < 1e-3 for notes in rolled)
    halves = statistics.distances(music, other, expression.measure)
    lost = statistics.distances(rolled, other, expression.measure)
    for name in ("deviations", "short intervals", "velocities"):
        assert lost[name][0] > 3 * halves[name][0]
        assert expression.measure(music[0])[name].sum() == pytest.approx(1)
    late = [note._replace(start=note.start + 1.0, end=note.end + 1.0) for note in music[0]]
    assert expression.measure(late)["mean deviation"] == pytest.approx(
        float(expression.measure(music[0])["mean deviation"])
    )
    assert expression.measure([Note(60, 80, 0.0, 1.0)])["mean deviation"] == 0


@pytest.mark.slow
def test_models_of_events_are_evaluated(tmp_path):
    for module in (smoke_rolls, events_transformer, performances):
        config, name = module.get_config(), module.__name__.rpartition(".")[2]
        config.data.train_split, config.data.test_split = "train[:20]", "test[:12]"
        config.network.update(depth=1, width=8, heads=2)
        built = sequences.build_model(config, sequences.load_data(config))
        save_run(tmp_path / name, config, sequences.init_params(built, jax.random.key(0)))
    flags = [f"--workdir={tmp_path}/smoke_rolls", f"--others={tmp_path}/events_transformer", "--num=10", "--long=1"]
    succeeds("projects.audio.music.evaluate_compositions", *flags)
    found = json.loads((tmp_path / "smoke_rolls" / "compositions.json").read_text())
    row = {row[0]: row for row in found["bits"]}["events_transformer"]
    assert row[1] == "exact"
    assert row[2] < 101 / 64 * np.log2(132) * 1.1  # a network that begins knows nothing but that the end is the last
    assert row[4] == pytest.approx(row[2] / 0.064)
    assert "events_transformer" in found["distances"]
    succeeds("projects.audio.music.expression", f"--workdir={tmp_path}/performances", "--num=10")
    found = json.loads((tmp_path / "performances" / "expression.json").read_text())
    assert found["mean deviation"]["held out, as a roll"] == pytest.approx(0, abs=1e-3)
    assert found["mean deviation"]["held out"] > 8
    assert (tmp_path / "performances" / "expression.png").stat().st_size > 5000

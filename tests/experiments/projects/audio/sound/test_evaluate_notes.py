"""``experiments.projects.audio.sound.evaluate_notes``: the files that it writes for a tiny run on tones."""

import json

import numpy as np
import pytest
import small_configs
from programs import give, save_untrained
from sound_sets import RATE, tones

from experiments import data as data_sets
from experiments.data.builders import sets
from experiments.tasks.diffusion import task as diffusion
from scorekit import audio

PROGRAM = "experiments.projects.audio.sound.evaluate_notes"


def tiny():
    config = small_configs.notes()
    config.data.train_split, config.data.test_split = "train", "test"
    config.network.update(multipliers=(1,), factors=(), attention_resolutions=())
    config.sampling.steps, config.sampling.batch_size, config.sampling.ema = 2, 8, "none"
    return config


@pytest.mark.slow
def test_every_combination_is_evaluated_and_written(load_program, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sets, "load_notes", tones)
    workdir = save_untrained(tmp_path / "one", tiny())
    program = load_program(PROGRAM)
    give(workdir=workdir, scales="1,2", steps="1,2", num="24", shown="2")
    program.main(diffusion.saved(str(workdir)))
    table = json.loads((workdir / "notes" / "table.json").read_text())
    drawn = [f"γ = {scale}, {steps} steps" for steps in (1, 2) for scale in (1, 2)]
    assert list(table) == ["real held-out notes", *drawn]
    assert table["real held-out notes"]["pitch"] == 1.0
    assert table["real held-out notes"]["family"] == 1.0
    assert table["real held-out notes"]["Fréchet distance"] < 0.5 * table[drawn[0]]["Fréchet distance"]
    assert [table[row]["evaluations"] for row in drawn] == [1, 1, 2, 2]
    for row in drawn:
        assert table[row]["real-time factor"] == pytest.approx(table[row]["seconds a note"] / 0.512)
    assert len(list((workdir / "notes" / "sounds").glob("*.wav"))) == 2 * (1 + len(drawn))
    page = (workdir / "notes" / "report.html").read_text()
    assert page.count("<audio") == 2 * (1 + len(drawn))
    assert "Organ, A2, velocity 90" in page
    assert audio.read(workdir / "notes" / "sounds" / "0_held_out.wav").sample_rate == RATE
    assert "real held-out notes" in capsys.readouterr().out


@pytest.mark.slow
def test_note_metrics_are_best_for_real_notes(monkeypatch, load_program):
    monkeypatch.setattr(sets, "load_notes", tones)
    dataset = data_sets.build(tiny())
    evaluate = load_program(PROGRAM).note_metrics(dataset)
    sounds = dataset.real(dataset.test)
    right = evaluate(sounds, dataset.test)
    hiss = 0.05 * np.random.default_rng(0).normal(size=sounds.shape).astype(np.float32)
    worse = evaluate(sounds + hiss, dataset.test)
    assert right["pitch"] == right["family"] == 1.0
    assert worse["Fréchet distance"] > 10 * right["Fréchet distance"]


def test_note_name_is_instrument_pitch_and_velocity(load_program):
    test = {"pitch": np.array([60, 61]), "velocity": np.array([90, 50]), "instrument": np.array([1, 0])}
    note_name = load_program(PROGRAM).note_name
    assert note_name(0, test, ("Piano", "Flute")) == "Flute, C4, velocity 90"
    assert note_name(1, test, ()) == "0, C♯4, velocity 50"

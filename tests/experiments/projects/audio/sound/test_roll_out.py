"""Long sounds by roll-out: their length, labels and context, and the drift of their statistics."""

import jax
import numpy as np
import pytest
from parameters import random_params
from programs import changed, give, save_untrained

from experiments import data
from experiments.data.builders import sets
from experiments.data.builders.sets import LabelledSounds
from experiments.projects.audio.configs import phrases_forcing
from experiments.projects.audio.sound import roll_out
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.guidance import NO_EXTRAS
from experiments.tasks.task import Run

CROP, FRAMES, RATE = 1024, 16, 4000
WAVENET = "data.crop=1024 sampling.steps=4 network.channels=4 network.layers=2 network.cycle=2"
SMALL = changed(phrases_forcing, *WAVENET.split())


@pytest.fixture
def songs(monkeypatch):
    rng = np.random.default_rng(0)
    found = LabelledSounds(
        x=rng.integers(-9000, 9000, (6, CROP), np.int16),
        roll=np.zeros((6, 17, 128), np.uint8),
        instrument=np.arange(6, dtype=np.int32) % 2,
        sample_rate=RATE,
        frame_rate=62.5,
        name="phrases",
    )
    monkeypatch.setattr(sets, "load_phrases", lambda *_: found)


def run_of(config):
    """A run with random parameters."""
    dataset = data.build(config)
    model = build_model(config, dataset)
    return Run(dataset, model, None, random_params(model), 0, NO_EXTRAS)


@pytest.mark.slow
def test_long_sounds_by_roll_out_are_as_long_as_asked_and_depend_on_their_labels(songs):
    config, labels = SMALL, np.array([0, 1], np.int32)
    run, rolling = run_of(SMALL), roll_out.Rolling(context=8, chunk=4, stabilisation=0.05)
    draw = jax.jit(roll_out.make_roll_out(config, run, 2, 3 * FRAMES, rolling))
    found = {c: np.asarray(draw(run.params, jax.random.key(0), {"labels": labels * c})) for c in (0, 1)}
    assert found[0].shape == (2, 3 * FRAMES, 128)
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-5)
    assert np.abs(found[0][1] - found[1][1]).max() > 1e-4
    other = jax.jit(roll_out.make_roll_out(config, run, 2, 3 * FRAMES, rolling._replace(chunk=8)))
    again = np.asarray(other(run.params, jax.random.key(0), {"labels": labels}))
    np.testing.assert_allclose(again[:, :8], found[1][:, :8], atol=1e-5)  # the first context is drawn at once
    assert np.abs(again[:, 8:] - found[1][:, 8:]).max() > 1e-3


@pytest.fixture
def program(load_program, tmp_path, songs):
    found = load_program("experiments.projects.audio.sound.roll_out")
    give(workdir=tmp_path)
    return found


@pytest.mark.slow
def test_the_benchmark_prints_both_samplers(program, tmp_path, capsys):
    save_untrained(tmp_path, SMALL)
    give(num=2, times=2, context=8, chunk=8)
    program.main(SMALL)
    text = capsys.readouterr().out
    for expected in ("level, dB: roll-out", "onsets a second: blended windows", "seconds of computing", "segment 2"):
        assert expected in text
    assert (tmp_path / "roll_out" / "report.html").exists()


def test_the_drift_has_the_standard_error_of_the_differences_of_each_sound():
    real = np.random.default_rng(0).normal(size=(3, RATE))
    gains = np.array([0.0, -6.0, -12.0])  # of the second segment, in dB
    x = np.concatenate([real, real * 10 ** (gains[:, None] / 20)], axis=1) * np.array([[1.0], [0.1], [0.01]])
    table = roll_out.drift(real, {"x": x}, RATE)
    level = dict(zip(table.header, table.rows[0], strict=True))
    np.testing.assert_allclose([level["drift"], level["standard error"]], [-6, 6 / 3**0.5], rtol=1e-4)

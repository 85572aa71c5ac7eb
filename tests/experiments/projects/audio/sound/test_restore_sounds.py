"""``restore_sounds``: what each problem observes and loses, and the methods."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from programs import give, save_untrained
from sound_sets import phrase_set

from experiments.cli.config import ConfigError
from experiments.data.builders import sets
from experiments.models.samples import NotFinite
from experiments.projects.audio.configs import phrases
from experiments.projects.audio.sound.problems import PROBLEMS, distances
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.inverse.tasks import consistency

RATE = 4000
T = np.arange(4096) / RATE
SOUNDS = jnp.asarray(
    np.stack([np.sin(2 * np.pi * 220 * T), 0.5 * np.sin(2 * np.pi * 1500 * T)])[..., None], jnp.float32
)


@pytest.mark.parametrize("name", PROBLEMS)
def test_true_sounds_explain_their_observation(name):
    task = PROBLEMS[name](SOUNDS, RATE).task
    y = task.operator(SOUNDS)
    assert consistency(task, np.asarray(SOUNDS), y) == pytest.approx(0, abs=1e-6)
    assert consistency(task, 0.2 * np.asarray(SOUNDS), y) > 0.01
    assert task.picture(np.asarray(y)).shape == SOUNDS.shape


def test_each_problem_loses_its_part_of_the_sound():
    tasks = {name: problem(SOUNDS, RATE).task for name, problem in PROBLEMS.items()}
    before = {name: np.asarray(t.picture(np.asarray(t.operator(SOUNDS))))[..., 0] for name, t in tasks.items()}
    x = np.asarray(SOUNDS)[..., 0]
    lost = np.flatnonzero(before["gap"][0] != x[0])
    assert 1920 <= lost.min() <= lost.max() < 2176
    assert len(lost) > 200
    assert PROBLEMS["gap"](SOUNDS, RATE).part == slice(1664, 2432)
    centre = slice(100, -100)
    assert np.abs(before["bandwidth"][0] - x[0])[centre].max() < 0.02  # 220 Hz is below 500 Hz
    assert np.abs(before["bandwidth"][1])[centre].max() < 0.01
    np.testing.assert_allclose(np.abs(before["declip"]).max(1), [0.3, 0.15], rtol=1e-3)


@pytest.mark.slow
def test_distances_are_in_decibels_of_the_sound_and_leave_silence_out():
    x = np.asarray(SOUNDS)[..., 0]
    silent = np.concatenate([x, np.zeros_like(x[:1])])
    *_, error = distances(0.9 * silent, silent, slice(None), RATE)
    assert error == pytest.approx(-20, abs=0.01)


@pytest.fixture
def program(load_program, tmp_path):
    found = load_program("experiments.projects.audio.sound.restore_sounds")
    give(workdir=tmp_path)
    return found


def small(**fields):
    """The config of phrases with a tiny network for sounds of 512 samples."""
    config = phrases.get_config()
    config.data.crop = 512
    config.network.update(channels=8, multipliers=(1,), factors=())
    config.sampling.batch_size = 4
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture
def songs(monkeypatch):
    """Noise in place of rendered phrases."""
    found = phrase_set(np.random.default_rng(0).integers(-9000, 9000, (4, 1024)))
    monkeypatch.setattr(sets, "load_phrases", lambda *_: found)


def test_the_prior_does_not_see_the_sound_itself(program):
    give(task="gap")
    with pytest.raises(ConfigError, match=r"config.conditions.map.name=low_rate is computed from the sound"):
        program.main(small(**{"conditions.map.name": "low_rate"}))


@pytest.mark.slow
@pytest.mark.usefixtures("songs")
def test_methods_restore_what_the_task_observes(program, tmp_path, monkeypatch):
    save_untrained(tmp_path, small())
    give(workdir=tmp_path, task="bandwidth", method="replacement,pigdm", condition="null", num=4, shown=1, steps=2)
    solve, solved = program.methods.restore, []
    monkeypatch.setattr(program.methods, "restore", lambda *args: solved.append(solve(*args)) or solved[-1])
    program.main(diffusion.saved(str(tmp_path)))
    rows = json.loads((tmp_path / "restored" / "bandwidth.json").read_text())
    assert [row[""] for row in rows] == ["before", "replacement", "pigdm"]
    assert [row["evaluations"] for row in rows] == [None, 2, 2]
    monkeypatch.setattr(program.methods, "restore", lambda *_: solved[0]._replace(x=np.nan * solved[0].x))
    with pytest.raises(NotFinite, match="--method=replacement; leave it out by naming the others"):
        program.main(diffusion.saved(str(tmp_path)))

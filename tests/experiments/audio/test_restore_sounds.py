"""``experiments.audio.restore_sounds``: its flags and runs are validated; models that were trained for a task."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from programs import give, save_untrained

from experiments import data as data_sets
from experiments.audio import problems
from experiments.cli.config import ConfigError, save_resolved
from experiments.configs import base
from experiments.configs.notes import notes
from experiments.configs.phrases import phrases_bridge, phrases_wide
from experiments.data import conditions
from experiments.data.dataset import preprocess
from scorekit import data
from scorekit.data.sounds import PhraseSet


@pytest.fixture
def program(load_program, tmp_path):
    found = load_program("experiments.audio.restore_sounds")
    give(workdir=tmp_path)
    return found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "gp"}, r"--task=gp: must be one of gap, .* \(did you mean gap\?\)"),
        ({"noise_std": "-1"}, r"--noise_std=-1.0: must be a finite number >= 0"),
        ({"method": "mmsp"}, r"--method=mmsp: must be one of .* \(did you mean mmps\?\)"),
        ({"condition": "class"}, "--condition=class: must be own or null"),
    ],
)
def test_flags_are_validated(program, given, message):
    give(**given)
    with pytest.raises(ConfigError, match=message):
        program.main(notes.get_config())


def test_run_must_be_on_waveforms(program):
    with pytest.raises(ConfigError, match="must hold a run on sounds, and its data are sklearn_digits"):
        program.main(base.get_config())
    with pytest.raises(ConfigError, match=r"config.data.representation.name=log_magnitudes: must be waveform"):
        program.main(notes.get_config())


def small(module, **fields):
    """A config with a tiny network for sounds of 512 samples."""
    config = module.get_config()
    config.data.crop = 512
    config.network.update(channels=8, multipliers=(1,), factors=())
    config.sampling.batch_size = 4
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture
def songs(monkeypatch):
    """Noise in place of rendered phrases."""
    rng = np.random.default_rng(0)
    found = PhraseSet(
        x=rng.integers(-9000, 9000, (4, 1024)).astype(np.int16), roll=np.zeros((4, 17, 128), np.uint8),
        instrument=np.arange(4, dtype=np.int32), sample_rate=4000, frame_rate=62.5, name="phrases",
    )  # fmt: skip
    monkeypatch.setattr(data, "load_phrases", lambda *_: found)


@pytest.mark.parametrize(
    ("task", "changed", "message"),
    [
        ("gap", {}, "--task must be one of bandwidth, got gap"),
        ("bandwidth", {"data.map.name": "low_rate"}, "data.map.name=low_rate: must be low_passed in --trained="),
        ("bandwidth", {"data.map.cutoff": 0.2}, "data.map.cutoff=0.2: must be 0.125 in --trained="),
        ("bandwidth", {"data.crop": 1024}, "data.crop=1024: must be 512 in --trained="),
    ],
)
def test_models_must_be_trained_for_the_task_on_the_same_sounds(program, tmp_path, task, changed, message):
    folder = tmp_path / "trained"
    folder.mkdir()
    save_resolved(small(phrases_bridge, **changed), folder / "config.json")
    give(task=task, trained=folder)
    with pytest.raises(ConfigError, match=message):
        program.main(small(phrases_wide))


def test_the_prior_does_not_see_the_sound_itself(program):
    give(task="gap")
    with pytest.raises(ConfigError, match=r"config.data.map.name=low_passed is computed from the sound"):
        program.main(small(phrases_wide))


@pytest.mark.slow
@pytest.mark.usefixtures("songs")
def test_trained_models_restore_what_the_task_observes(program, tmp_path):
    wide, bridge = tmp_path / "wide", tmp_path / "bridge"
    save_untrained(wide, small(phrases_wide, **{"sampling.grid.name": "uniform"}))
    save_untrained(bridge, small(phrases_bridge))
    give(
        workdir=wide, task="bandwidth", condition="null", method="replacement", num=4, shown=1, steps=2, trained=bridge
    )
    program.main(base.saved(str(wide)))
    rows = json.loads((wide / "restored" / "bandwidth.json").read_text())
    assert [row[""] for row in rows] == ["before", "replacement", "bridge, 2 steps"]
    assert [row["evaluations"] for row in rows] == [None, 2, 2]


@pytest.mark.usefixtures("songs")
def test_the_map_is_what_the_task_observes():
    config = small(phrases_bridge)
    dataset = data_sets.load(config)
    batch = preprocess(dataset, dataset.test)
    task = problems.PROBLEMS["bandwidth"](jnp.asarray(batch["x"]), dataset.sample_rate).task
    found = conditions.build_conditions(config, dataset)["dense_map"](batch)
    np.testing.assert_allclose(found, task.picture(np.asarray(task.operator(batch["x"]))), atol=1e-6)

"""``restore_sounds``: models that were trained for a task, and a synthesiser's controls."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from programs import give, save_untrained
from sound_sets import note_set, phrase_set

from experiments import data as data_sets
from experiments.cli.config import ConfigError, save_resolved
from experiments.configs.notes import notes_controls
from experiments.configs.phrases import phrases_bridge, phrases_wide
from experiments.data.builders import sets
from experiments.data.dataset import preprocess
from experiments.models.samples import NotFinite
from experiments.projects.audio.sound import problems, synthesised
from experiments.tasks.diffusion import task as diffusion
from scorekit.typing import Prediction


@pytest.fixture
def program(load_program, tmp_path):
    found = load_program("experiments.projects.audio.sound.restore_sounds")
    give(workdir=tmp_path)
    return found


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
    found = phrase_set(rng.integers(-9000, 9000, (4, 1024)))
    monkeypatch.setattr(sets, "load_phrases", lambda *_: found)


@pytest.mark.parametrize(
    ("task", "changed", "message"),
    [
        ("gap", {}, "--task must be one of bandwidth, got gap"),
        (
            "bandwidth",
            {"conditions.map.name": "low_rate"},
            "conditions.map.name=low_rate: must be low_passed in --trained=",
        ),
        ("bandwidth", {"conditions.map.cutoff": 0.2}, "conditions.map.cutoff=0.2: must be 0.125 in --trained="),
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
    with pytest.raises(ConfigError, match=r"config.conditions.map.name=low_passed is computed from the sound"):
        program.main(small(phrases_wide))


@pytest.mark.slow
@pytest.mark.usefixtures("songs")
def test_trained_models_restore_what_the_task_observes(program, tmp_path):
    wide, bridge = tmp_path / "wide", tmp_path / "bridge"
    save_untrained(wide, small(phrases_wide, **{"sampling.grid.name": "uniform"}))
    save_untrained(bridge, small(phrases_bridge))
    sizes = {"num": 4, "shown": 1, "steps": 2}
    give(workdir=wide, task="bandwidth", condition="null", method="replacement", trained=bridge, **sizes)
    program.main(diffusion.saved(str(wide)))
    rows = json.loads((wide / "restored" / "bandwidth.json").read_text())
    assert [row[""] for row in rows] == ["before", "replacement", "bridge, 2 steps"]
    assert [row["evaluations"] for row in rows] == [None, 2, 2]


@pytest.mark.usefixtures("songs")
def test_the_map_is_what_the_task_observes():
    config = small(phrases_bridge)
    dataset = data_sets.build(config)
    batch = preprocess(dataset, dataset.test)
    task = problems.PROBLEMS["bandwidth"](jnp.asarray(batch["x"]), dataset.sample_rate).task
    found = data_sets.build_conditions(config, dataset)["dense_map"](batch)
    np.testing.assert_allclose(found, task.picture(np.asarray(task.operator(batch["x"]))), atol=1e-6)


@pytest.fixture
def tones(monkeypatch):
    """Four notes of two partials and a little noise in place of rendered ones."""
    pitch = np.array([57, 62, 69, 72])
    n = np.arange(2048)
    f = 440 / 4000 * 2 ** ((pitch[:, None] - 69) / 12)
    x = np.exp(-n / 1500) * (np.sin(2 * np.pi * f * n) + 0.4 * np.sin(4 * np.pi * f * n))
    x = x + 0.01 * np.random.default_rng(0).normal(size=x.shape)
    found = note_set(x / np.abs(x).max(), pitch, np.arange(4), np.zeros(4))
    monkeypatch.setattr(sets, "load_notes", lambda *_: found)


def tiny_controls(**fields):
    """The config of controls with a tiny network."""
    return small(
        notes_controls,
        **{
            "data.crop": None,
            "network.heads": 1,
            "data.representation.bands": 5,
            "data.representation.partials": 4,
            **fields,
        },
    )


@pytest.mark.slow
@pytest.mark.usefixtures("tones")
def test_controls_are_restored_through_their_synthesiser(program, tmp_path, monkeypatch):
    """By a prior N(m, 1/4) around the mean frame m of each note, in place of a network."""
    workdir = tmp_path / "controls"
    save_untrained(workdir, tiny_controls())

    def exact(mean, schedule, x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        away = (x - alpha * mean) / (0.25 * alpha**2 + sigma**2)
        return Prediction(mean + 0.25 * alpha * away, sigma * away)

    def prior(run, batch):
        mean = jnp.mean(batch["x"], 1, keepdims=True)
        return Partial(exact, jnp.broadcast_to(mean, batch["x"].shape), run.model.schedule)

    monkeypatch.setattr(program, "prior", prior)
    give(workdir=workdir, task="gap", num=4, shown=1, steps=16)
    program.main(diffusion.saved(str(workdir)))
    rows = {row[""]: row for row in json.loads((workdir / "restored" / "gap.json").read_text())}
    assert list(rows) == ["before", synthesised.CEILING, "dps", "mmps"]
    before, ceiling, dps, mmps = rows.values()
    assert ceiling["LSD (dB)"] < before["LSD (dB)"]
    for row in (dps, mmps):
        assert row["RMS of y - A(x)"] < 1.0
        assert row["evaluations"] == 16
    assert [row["error (dB)"] is None for row in rows.values()] == [False, True, True, True]
    assert "played without phases" in (workdir / "restored" / "gap.html").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("tones")
def test_a_network_of_controls_is_a_prior_without_conditions(program, tmp_path, monkeypatch):
    workdir = tmp_path / "controls"
    save_untrained(workdir, tiny_controls())
    give(workdir=workdir, task="declip", method="dps", condition="null", num=2, shown=1, steps=2)
    solve, solved = program.methods.restore, []
    monkeypatch.setattr(program.methods, "restore", lambda *args: solved.append(solve(*args)) or solved[-1])
    program.main(diffusion.saved(str(workdir)))
    rows = json.loads((workdir / "restored" / "declip.json").read_text())
    assert [row[""] for row in rows] == ["before", synthesised.CEILING, "dps"]
    monkeypatch.setattr(program.methods, "restore", lambda *_: solved[0]._replace(x=np.nan * solved[0].x))
    with pytest.raises(NotFinite, match="--method=dps; leave it out by naming the others"):
        program.main(diffusion.saved(str(workdir)))

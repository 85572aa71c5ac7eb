"""The program that judges a run on notes, on a tiny run on tones: every file that it leaves, and whom it refuses."""

import json
import shutil

import jax
import numpy as np
import pytest
from programs import give

from experiments.cli.config import ConfigError
from experiments.configs.images import smoke
from experiments.configs.notes import notes_smoke
from experiments.data.dataset import load_dataset
from experiments.models import model
from experiments.training import loop
from scorekit import audio, data
from scorekit.data.sounds import NoteSet

RATE = 4000


@pytest.fixture
def tones(monkeypatch):
    """Two families of two instruments: with even partials, and without."""

    def load(name, split, *_):
        pitch, instrument = np.tile(np.arange(45, 75), 4).astype(np.int32), np.repeat(np.arange(4, dtype=np.int32), 30)
        if split == "test":
            pitch, instrument = pitch[::5], instrument[::5]
        n = np.arange(2048) / RATE
        f = 440 * 2 ** ((pitch[:, None] - 69) / 12)
        level = np.where(instrument // 2, 0.0, 1.0)[:, None]
        x = np.sin(2 * np.pi * f * n) + 0.5 * level * np.sin(4 * np.pi * f * n) + 0.3 * np.sin(6 * np.pi * f * n)
        x = 0.3 * x * np.exp(-(1 + instrument[:, None] % 2) * n)
        return NoteSet(x=np.round(32767 * x).astype(np.int16), pitch=pitch, velocity=np.full_like(pitch, 90),
                       instrument=instrument, family=instrument // 2, instruments=("Organ", "Flute", "Oboe", "Cello"),
                       families=("even", "odd"), sample_rate=RATE, name=name)  # fmt: skip

    monkeypatch.setattr(data, "load_notes", load)


def tiny(config=notes_smoke):
    config = config.get_config()
    config.data.train_split, config.data.test_split = "train", "test"
    config.training.steps, config.training.warmup_steps, config.training.batch_size = 2, 1, 8
    config.training.checkpoint_every, config.training.sample_every = 2, 10
    config.sampling.steps, config.sampling.batch_size = 2, 8
    return config


@pytest.mark.slow
def test_a_run_is_judged_and_everything_is_written(tones, load_program, tmp_path, capsys):
    workdir, other = tmp_path / "one", tmp_path / "two"
    config = tiny()
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    loop.fit(
        config,
        workdir,
        dataset,
        params=model.init_params(built, jax.random.key(0)),
        prepare=model.make_prepare(built, dataset),
        loss=model.make_loss(built),
        averaged=lambda state: state.params,
        held_out=lambda params: 0.0,
    )
    shutil.copytree(workdir, other)
    program = load_program("experiments.audio.evaluate_notes")
    asked = {"workdir": workdir, "scales": "1,2", "steps": "1,2", "num": "24", "shown": "2", "beside": other}
    give(**asked)
    program.main(program.saved_config(str(workdir)))
    table = json.loads((workdir / "notes" / "table.json").read_text())
    drawn = [f"one, γ = {scale}, {steps} steps" for steps in (1, 2) for scale in (1, 2)] + ["two, γ = 2, 2 steps"]
    assert list(table) == ["real held-out notes", *drawn]
    assert table["real held-out notes"]["pitch"] == 1.0
    assert table["real held-out notes"]["family"] == 1.0
    assert table["real held-out notes"]["Fréchet distance"] < 0.5 * table[drawn[0]]["Fréchet distance"]
    assert [table[row]["evaluations"] for row in drawn] == [1, 1, 2, 2, 2]
    for row in drawn:
        assert table[row]["real-time factor"] == pytest.approx(table[row]["seconds a note"] / 0.512)
    assert len(list((workdir / "notes" / "sounds").glob("*.wav"))) == 2 * (1 + len(drawn))
    page = (workdir / "notes" / "report.html").read_text()
    assert page.count("<audio") == 2 * (1 + len(drawn))
    assert "Organ, A2, velocity 90" in page
    assert audio.read(workdir / "notes" / "sounds" / "0_held_out.wav").sample_rate == RATE
    assert "real held-out notes" in capsys.readouterr().out


def test_runs_on_images_are_refused(load_program, tmp_path):
    program = load_program("experiments.audio.evaluate_notes")
    give(workdir=tmp_path)
    with pytest.raises(ConfigError, match="must hold a run on notes, and its data are sklearn_digits"):
        program.main(smoke.get_config())


def test_the_ear_prefers_what_was_asked_for(tones, load_program):
    program = load_program("experiments.audio.evaluate_notes")
    dataset = load_dataset(tiny())
    ear = program.train_ear(dataset)
    sounds = dataset.real(dataset.test)
    right = program.listen(ear, sounds, dataset.test)
    hiss = 0.05 * np.asarray(jax.random.normal(jax.random.key(0), sounds.shape))
    worse = program.listen(ear, sounds + hiss, dataset.test)
    assert right["pitch"] == right["family"] == 1.0
    assert worse["Fréchet distance"] > 10 * right["Fréchet distance"]

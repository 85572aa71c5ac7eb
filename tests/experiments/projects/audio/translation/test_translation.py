"""The task translation: a run on notes of two families, its table, and what it does not take."""

import json

import numpy as np
import pytest
from programs import changed, given, succeeds
from sound_sets import tones

from experiments.data.builders import sets
from experiments.projects.audio.configs import translation as config
from experiments.projects.audio.translation import task as task
from experiments.projects.audio.translation import translation

FIELDS = (
    "translation.channels=16 translation.blocks=1 translation.latent_channels=4 training.steps=60 "
    "training.warmup_steps=1 training.batch_size=32 evaluation.num_samples=16 evaluation.shown=2"
)
SMALL = changed(config, *FIELDS.split())


@pytest.mark.slow
def test_a_run_is_trained_and_its_notes_are_translated(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "load_notes", tones)
    workdir = tmp_path / "run"
    succeeds("train", *given("projects/audio/configs/translation", FIELDS), f"--workdir={workdir}")
    table = json.loads((workdir / "evaluation.json").read_text())["translation"]
    assert [row[""] for row in table] == ["held out", "reconstruction", "translation", "translation, phase of the note"]
    assert len(list((workdir / "translations").glob("*.wav"))) == 8  # four versions of each
    run = task.open_run(SMALL, workdir)
    x = run.dataset.test["x"][:4]
    z = translation.encode(run, x)
    np.testing.assert_allclose(np.mean(z**2, -1), 1.0, rtol=1e-2)
    own, other = (translation.decode(run, z, np.full(4, k, np.int32)) for k in (0, 1))
    assert own.shape == other.shape == x.shape
    assert not np.allclose(own, other)

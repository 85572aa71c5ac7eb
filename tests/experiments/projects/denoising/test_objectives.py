"""Objectives of score matching, and training for a band of frequencies, at their smallest settings."""

import re

import pytest
from programs import give, succeeds
from text_runs import transformer

from experiments.cli.config import save_resolved
from experiments.configs.images import digits


@pytest.mark.slow
def test_the_means_of_all_objectives_are_the_exact_one(load_program, capsys, tmp_path, monkeypatch):
    module = load_program("experiments.projects.denoising.score_matching")
    monkeypatch.setattr(module, "DIMS", (2,))
    give(num="2000", out=str(tmp_path))
    module.main(None)
    biases = [float(z) for z in re.findall(r"\(([+-]\d\.\d)\)", capsys.readouterr().out)]
    assert len(biases) == 2 * len(module.OBJECTIVES)
    assert max(map(abs, biases)) < 4  # standard errors
    assert (tmp_path / "objectives.png").stat().st_size > 1000


@pytest.mark.slow
def test_every_band_has_a_line(tmp_path):
    config = transformer(digits.get_config("band"))
    config.training.update(steps=2, warmup_steps=1)
    config.data.test_split = "test[:50]"
    save_resolved(config, tmp_path / "config.json")
    flags = [f"--config={tmp_path}/config.json", "--seeds=1", "--edges=0.3"]
    out = succeeds("projects.denoising.band_weighting", *flags)
    assert len([line for line in out.splitlines() if line.startswith("band f")]) == 2

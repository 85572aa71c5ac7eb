"""Objectives of score matching, and training for a band of frequencies, at their smallest settings."""

import re

import pytest
from picture_runs import transformer
from programs import give, succeeds

from experiments.cli.config import save_resolved
from experiments.configs.images import digits


@pytest.mark.slow
def test_objectives_of_score_matching_agree_and_energies_are_conservative(load_program, capsys, tmp_path, monkeypatch):
    """Means within error of the truth; the noise of few examples; antisymmetry of an energy at rounding."""
    module = load_program("experiments.projects.denoising.score_matching")
    monkeypatch.setattr(module, "RUNS", {name: module.RUNS[name] for name in ("score, sliced", "energy, FD-DSM")})
    monkeypatch.setattr(module, "DIMS", (2,))
    monkeypatch.setattr(module, "TIMED", (2,))
    give(num="2000", steps="200", seeds="1", turns="1", out=str(tmp_path))
    module.main(None)
    biases = re.findall(r"\(([+-]\d\.\d)\)", out := capsys.readouterr().out)
    assert (len(biases), max(abs(float(z)) for z in biases) < 4) == (12, True)
    rows = {row.split("  ")[0]: re.findall(r"(-?[\d.e-]+) ±", row) for row in out.splitlines() if "±" in row}
    curl, distance = (float(rows["energy, FD-DSM"][i]) for i in (0, 6))  # after three correlations
    assert distance < 0.3
    assert curl < 1e-5 < 1e-3 < float(rows["score, sliced"][0])
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

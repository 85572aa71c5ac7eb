"""``experiments.projects.denoising.autoencoder``: the models that it trains and probes, and its errors."""

import json
import shutil

import pytest
from programs import fails, run, succeeds


@pytest.mark.slow
def test_models_to_compare_with_are_trained_once_and_probed(digits_run, tmp_path):
    workdir = shutil.copytree(digits_run, tmp_path / "run")
    flags = [f"--workdir={workdir}", "--levels=0,4", "--layers=middle_block", "--steps=3", "--examples=200"]
    out = succeeds("projects.denoising.autoencoder", *flags, "--compare=annealed,several levels")
    report = workdir / "autoencoder" / "report.html"
    assert str(report) in out.splitlines()[-1]
    assert report.read_text().count("<img") == 2
    for name in ("this run", "untrained network", "annealed", "several levels", "pixels alone"):
        assert any(line.startswith(name) for line in out.splitlines()), name
    saved = json.loads((workdir / "autoencoder" / "annealed" / "config.json").read_text())
    assert saved["loss"]["times"]["first"] == 0.8
    code, _, err = run("projects.denoising.autoencoder", *flags, "--compare=annealed")
    assert (code, "annealed, seed" in err) == (0, False), err  # it is trained already
    other = ("--compare=annealed", "--config.training.batch_size=9")
    assert "--compare=annealed:" in fails("projects.denoising.autoencoder", *flags, *other, at_once=False)

"""``experiments.projects.denoising.autoencoder``: the models that it trains and probes, and its errors."""

import json
import shutil

import pytest
from programs import fails, run, succeeds

from experiments.cli.config import save_resolved
from experiments.configs.images import smoke


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


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--compare=anealed", "--compare=anealed: must be of class-free, one level,"),
        ("--levels=x", "--levels=x: must be increasing numbers, as in 1,2"),
    ],
)
def test_invalid_flags_are_config_errors(tmp_path, argument, message):
    save_resolved(smoke.get_config(), tmp_path / "config.json")
    assert fails("projects.denoising.autoencoder", f"--workdir={tmp_path}", argument).startswith(f"error: {message}")


@pytest.mark.slow
def test_unknown_layers_and_points_are_config_errors(digits_run, ring_run):
    err = fails("projects.denoising.autoencoder", f"--workdir={digits_run}", "--layers=middle", at_once=False)
    assert err.startswith("error: --layers=middle: must be of down0_0_block/film,")
    assert err.count("\n") == 1
    for program, kinds in (("autoencoder", "images"), ("noise_and_scale", "images or sounds")):
        err = fails(f"analysis.{program}", f"--workdir={ring_run}", at_once=False)
        assert f"its data must be {kinds}, they are ring of 8 Gaussians" in err

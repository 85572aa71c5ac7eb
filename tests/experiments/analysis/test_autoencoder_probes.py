"""``experiments.analysis.autoencoder``: the models that it trains and probes, and its errors."""

import json
import shutil

import pytest
from programs import run


@pytest.mark.slow
def test_models_to_compare_with_are_trained_once_and_probed(digits_run, tmp_path):
    workdir = shutil.copytree(digits_run, tmp_path / "run")
    flags = [f"--workdir={workdir}", "--levels=0,4", "--layers=middle_block", "--steps=3", "--examples=200"]
    code, out, err = run("analysis.autoencoder", *flags, "--compare=annealed,several levels")
    assert code == 0, err
    report = workdir / "autoencoder" / "report.html"
    assert str(report) in out.splitlines()[-1]
    assert report.read_text().count("<img") == 2
    for name in ("this run", "untrained network", "annealed", "several levels", "pixels alone"):
        assert any(line.startswith(name) for line in out.splitlines()), name
    saved = json.loads((workdir / "autoencoder" / "annealed" / "config.json").read_text())
    assert saved["loss"]["times"]["first"] == 0.8
    code, out, err = run("analysis.autoencoder", *flags, "--compare=annealed")
    assert code == 0, err
    assert "annealed, seed" not in err  # it is trained already
    code, out, err = run("analysis.autoencoder", *flags, "--compare=annealed", "--config.training.batch_size=9")
    assert code == 2
    assert "--compare=annealed:" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--compare=anealed", "--compare=anealed: must be of class-free, one level,"),
        ("--levels=x", "--levels=x: must be increasing numbers, as in 1,2"),
        ("--layers=middle", "--layers=middle: must be of down0_0_block/film,"),
    ],
)
def test_invalid_flags_are_config_errors(digits_run, argument, message):
    code, _, err = run("analysis.autoencoder", f"--workdir={digits_run}", argument)
    assert code == 2
    assert err.startswith(f"error: {message}"), err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_points_are_a_config_error(ring_run):
    code, _, err = run("analysis.autoencoder", f"--workdir={ring_run}")
    assert code == 2
    assert "its data must be images, they are ring of 8 Gaussians" in err

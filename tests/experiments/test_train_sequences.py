"""Models of sequences from a shell: trained, continued, sampled and evaluated like every other run."""

import json
import shutil

import jax
import numpy as np
import pytest
from programs import run

from experiments.training.writers import read_metrics
from scorekit.training import restore_params

SMOKE = [
    "--config=experiments/configs/sequences/smoke.py",
    "--config.training.sample_every=100",
    "--config.evaluation.guidance_scales=2",
    "--config.evaluation.num_samples=20",
    "--config.sampling.guidance_scale=2",
    "--config.sampling.batch_size=100",
]


def train(workdir, *overrides):
    code, out, err = run("train", *SMOKE, f"--workdir={workdir}", *overrides)
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and output of a run that was stopped after 4 of 6 steps and continued."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    train(workdir, "--config.training.steps=4", "--config.training.checkpoint_every=4")
    return workdir, train(workdir)


@pytest.mark.slow
def test_a_run_is_continued_and_writes_what_every_run_writes(finished):
    workdir, out = finished
    for name in ("config.json", "metrics.jsonl", "evaluation.json", "report.html", "samples.png", "training.png"):
        assert (workdir / name).stat().st_size > 0, name
    assert "bits per symbol" in out
    metrics = json.loads((workdir / "evaluation.json").read_text())
    assert metrics["bits per symbol/kind"] == "exact"
    assert abs(metrics["bits per symbol"] - np.log2(17)) < 0.2  # hardly trained
    assert 0 <= metrics["γ = 2/classification accuracy score"] <= 1
    assert metrics["seconds per sample"] > 0
    steps = [row["step"] for row in read_metrics(workdir / "metrics.jsonl") if "held_out/loss" in row]
    assert (steps[0], steps[-1]) == (4, 6)
    _, params = restore_params(workdir / "checkpoints", decay="0.999")
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(params))


@pytest.mark.slow
def test_a_run_is_sampled_and_evaluated(finished, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    code, out, err = run("sample", f"--workdir={workdir}", "--labels=7,3", "--num=6", "--config.sampling.top_k=1",
                         "--config.sampling.guidance_scale=1")  # fmt: skip
    assert code == 0, err
    assert "γ = 1, autoregressive" in out
    arrays = np.load(workdir / "samples" / "sample.npz")
    assert arrays["label"].tolist() == [7, 3] * 3
    assert arrays["x"].shape == (6, 4, 4, 1)
    np.testing.assert_array_equal(arrays["x"][0], arrays["x"][2])  # the most probable codes alone
    code, out, err = run("evaluate", f"--workdir={workdir}", "--config.sampling.top_k=2")
    assert code == 0, err
    before, again = (json.loads((workdir / name).read_text()) for name in ("evaluation.json", "evaluation_6.json"))
    assert again["bits per symbol"] == pytest.approx(before["bits per symbol"], abs=1e-5)
    assert (workdir / "evaluation_6.html").exists()
    code, _, err = run("evaluate", f"--workdir={workdir}", "--config.network.width=32")
    assert code == 2
    assert "config.network.width=32: the weights in" in err
    code, _, err = run("evaluate", f"--workdir={workdir}", "--bits_per_dim")
    assert (code, err.count("error: ")) == (2, 1)
    assert "--bits_per_dim: not of a model of sequences" in err
    code, _, err = run("tune", f"--workdir={workdir}")
    assert (code, err.count("error: ")) == (2, 1)
    assert "this run is a model of sequences" in err
    code, _, err = run("benchmarks.sequences", f"--counted={workdir}")
    assert (code, err.count("error: ")) == (2, 1)
    assert "--counted: must have at most 131,072 sequences, this run has" in err

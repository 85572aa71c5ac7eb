"""Models of sequences from a shell: trained, continued, sampled and evaluated like every other run."""

import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_configs
from programs import fails, overridden, saved_config, succeeds

from experiments import tasks
from experiments.projects.ood import counted as counted_sequences
from experiments.tasks.sequences.model import conditionals
from experiments.tasks.sequences.sampling import open_run
from experiments.training.writers import read_metrics
from scorekit import autoregressive as ar
from scorekit.training import restore_params

SMOKE = """
    training.sample_every=100 evaluation.guidance_scales=2 evaluation.num_samples=20 sampling.guidance_scale=2
    sampling.batch_size=100
"""


def train(workdir, fields=""):
    config = saved_config(small_configs.sequence(), workdir.parent)
    return succeeds("train", config, *overridden(f"{SMOKE} {fields}"), f"--workdir={workdir}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and output of a run that was stopped after 4 of 6 steps and continued."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    train(workdir, "training.steps=4 training.checkpoint_every=4")
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
    fields = overridden("sampling.top_k=1 sampling.guidance_scale=1")
    out = succeeds("sample", f"--workdir={workdir}", "--labels=7,3", "--num=6", *fields)
    assert "γ = 1, autoregressive" in out
    arrays = np.load(workdir / "samples" / "sample.npz")
    assert arrays["label"].tolist() == [7, 3] * 3
    assert arrays["x"].shape == (6, 4, 4, 1)
    np.testing.assert_array_equal(arrays["x"][0], arrays["x"][2])  # the most probable codes alone
    succeeds("evaluate", f"--workdir={workdir}", "--config.sampling.top_k=2")
    before, again = (json.loads((workdir / name).read_text()) for name in ("evaluation.json", "evaluation_6.json"))
    assert again["bits per symbol"] == pytest.approx(before["bits per symbol"], abs=1e-5)
    assert (workdir / "evaluation_6.html").exists()
    for program, flag, words in (
        ("evaluate", "--config.network.width=32", "config.network.width=32: the weights in"),
        ("evaluate", "--bits_per_dim", "--bits_per_dim: not for a model of sequences"),
        ("tune", "--power=1", "this run is a model of sequences"),
    ):
        assert words in fails(program, f"--workdir={workdir}", flag, at_once=False)
    words = "--workdir: must have at most 131,072 sequences, this run has"
    assert words in fails("projects.ood.counted", f"--workdir={workdir}", at_once=False)


@pytest.fixture(scope="module")
def diffusions(tmp_path_factory):
    """Folders of runs by masked and by uniform noise, and by masked noise of the parts of the pixels."""
    root = tmp_path_factory.mktemp("diffusions")
    planes = "model=masked symbols.name=planes order.name=subscale"
    for name, fields in (("masked", "model=masked"), ("uniform", "model=uniform"), ("planes", planes)):
        assert "bits per symbol" in train(root / name, f"network.name=dit network.patch=1 {fields}")
    return root


@pytest.mark.slow
def test_diffusions_of_symbols_are_trained_with_a_bound(diffusions):
    for name, most in (("masked", 17), ("uniform", 17), ("planes", 5)):
        metrics = json.loads((diffusions / name / "evaluation.json").read_text())
        assert metrics["bits per symbol/kind"] == "bound"
        assert abs(metrics["bits per symbol"] - np.log2(most)) < 0.7, name  # hardly trained
        assert "γ = 2/class accuracy" in metrics
        assert (diffusions / name / "samples.png").exists()


@pytest.mark.slow
def test_a_short_run_is_counted(diffusions, tmp_path):
    workdir = tmp_path / "short"
    train(workdir, "data.image_size=2 symbols.levels=2")
    flags = [f"--workdir={workdir}", "--scales=0,2", "--temperatures=0.5,1"]
    text = succeeds("projects.ood.counted", *flags)
    assert float(re.findall(r"^0 +(\S+)", text, re.MULTILINE)[0]) < 1e-4  # the total variation at γ = 0
    for program in ("projects.ood.counted", "projects.audio.music.trap"):
        err = fails(program, f"--workdir={diffusions / 'masked'}", at_once=False)
        assert "must be an autoregressive run, this one is a diffusion" in err
    run_of = open_run(tasks.saved(workdir), workdir, scales=(1.0,))
    counted = counted_sequences.count(run_of)
    for label in (3, 10):
        model = conditionals(run_of.model, run_of.params, jnp.int32(label), 16)
        expected = ar.log_prob_table(model, run_of.model.length)
        found = counted.cond[label] if label < 10 else counted.uncond
        np.testing.assert_allclose(found, expected, atol=1e-4)

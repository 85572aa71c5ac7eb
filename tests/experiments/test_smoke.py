"""``--smoke``: one config of every task of the trunk is trained, continued, sampled and evaluated in seconds."""

import json

import numpy as np
import pytest
from programs import fails, given, overridden, succeeds

TASKS = {
    "diffusion": "images/digits",
    "sequence": "sequences/digits_pixels",
    "flow": "images/digits_flow",
    "posterior": "posterior/two_moons",
    "classifier": "images/digits_classifier",
    "autoencoder": "latents/digits_latent",
    "student": "distil",
}
DRAWN = ("diffusion", "sequence", "flow", "student")
"""The tasks whose runs are sampled without further flags."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the runs of all tasks are, by their names."""
    return tmp_path_factory.mktemp("runs")


def training(task, folder, fields=""):
    config = given(TASKS[task])
    if task == "student":
        config = [f"{config[0]}:{folder}/diffusion,progressive"]
    return ["train", "--smoke", *config, *overridden(fields), f"--workdir={folder}/{task}"]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_trained_continued_sampled_and_evaluated(task, folder):
    if task == "student" and not (folder / "diffusion").exists():
        succeeds(*training("diffusion", folder))
    workdir = folder / task
    assert "report.html" in succeeds(*training(task, folder)).splitlines()[-1]
    for name in ("config.json", "metrics.jsonl", "evaluation.json", "report.html"):
        assert (workdir / name).stat().st_size > 0, name
    config = json.loads((workdir / "config.json").read_text())
    if task not in ("student", "posterior"):  # of which several stages, or many steps, are trained
        assert "resuming  from step 6" in succeeds(*training(task, folder, "training.steps=8"))
    if task in DRAWN:
        succeeds("sample", f"--workdir={workdir}", "--num=3")
        with np.load(workdir / "samples" / "sample.npz") as archive:
            assert archive["x"].shape == (3, 8, 8, 1)
            assert np.all(np.isfinite(archive["x"]))
    before = json.loads((workdir / "evaluation.json").read_text())
    succeeds("evaluate", f"--workdir={workdir}")
    file = workdir / f"evaluation_{6 if task in ('student', 'posterior') else 8}.json"
    assert json.loads(file.read_text()).keys() == before.keys()
    assert config["training"]["steps"] == 6


@pytest.mark.slow
def test_a_run_that_is_needed_is_an_error_with_the_command_that_makes_it(tmp_path):
    err = fails("train", "--smoke", *given("sequences/digits_codes"), f"--workdir={tmp_path}/run")
    assert err.startswith("error: config.latents=runs/digits_vq: there is no ")
    assert "--config=experiments/configs/latents/digits_latent.py --workdir=runs/digits_vq" in err
    assert err.endswith("--config.autoencoder.codes=64 --config.autoencoder.latent_channels=4 --smoke\n")

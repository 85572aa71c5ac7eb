"""Students: what the folder of one holds, how it continues, and which commands are errors."""

import json

import numpy as np
import pytest
from programs import ROOT, changed, error_of, give, succeeds

from experiments import tasks
from experiments.cli.command_line import load_config
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.runs import open_run

SMALL = """
    training.steps=4 training.warmup_steps=1 training.batch_size=16 training.sample_every=2
    training.checkpoint_every=2 sampling.batch_size=8 evaluation.num_samples=16 evaluation.bound_times=1
"""


@pytest.fixture
def distill(load_program, ring_run):
    """Trains a student with these overrides of its config."""
    program = load_program("experiments.train")

    def main(folder, method, overrides, steps=2):
        config = load_config(f"{ROOT}/experiments/configs/distil.py:{ring_run},{method}")
        config = changed(config, f"distillation.steps={steps}", *overrides.split())
        give(config="", workdir=folder)
        tasks.check_fields(config)
        return program.main(config)

    return main


@pytest.mark.slow
@pytest.mark.parametrize("method", ["progressive", "matching"])  # the others are one run with another loss
def test_student_is_a_run_that_is_sampled_continued_and_compared(distill, ring_run, tmp_path, method, capsys):
    folder = tmp_path / method
    assert distill(folder, method, SMALL) == folder / "report.html"
    assert "training 4/4 (100%)" in capsys.readouterr().err
    assert (folder / "samples.png").exists()
    assert json.loads((folder / "distillation.json").read_text())["config.distillation.method"] == method
    drawn = [folder, *(folder / "rounds").glob("*")]
    assert sorted(path.name for path in drawn[1:]) == (["4", "8"] if method == "progressive" else [])
    for path in drawn:
        student = open_run(diffusion.saved(str(path)), path)
        assert np.isfinite(student.generate(student.params, 0, np.arange(8), 1.0)).all()
    error = error_of(distill, folder, method, f"{SMALL} sampling.guidance_scale=3")
    assert "config.sampling.guidance_scale=3.0: the run in" in error
    if method == "progressive":
        flags = ["--steps=2", "--updates=0", "--num=16", f"--out={tmp_path / 'few'}"]
        out = succeeds("benchmarks.few_steps", f"--workdir={ring_run}", f"--students={folder}", *flags)
        rows = out.split("steps  calls")[1].splitlines()
        assert sum(line.startswith(("progressive", "teacher")) for line in rows) == 3
        capsys.readouterr()
        distill(folder, method, f"{SMALL} training.steps=6")
        assert "resuming  from step 4" in capsys.readouterr().out

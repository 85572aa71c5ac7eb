"""Students: what the folder of one holds, how it continues, and which commands are errors."""

import json
import shutil

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

METHODS = ("progressive", "consistency", "matching", "lagrangian")  # the other flow maps differ in their loss alone


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


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of the students of all methods, kept for the tests that continue one."""
    return tmp_path_factory.mktemp("students")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_student_is_a_run_that_can_be_sampled(distill, root, method, capsys):
    folder = root / method
    assert distill(folder, method, SMALL) == folder / "report.html"
    assert "training 4/4 (100%)" in capsys.readouterr().err
    assert (folder / "samples.png").exists()
    assert json.loads((folder / "distillation.json").read_text())["config.distillation.method"] == method
    drawn = [folder, *(folder / "rounds").glob("*")]
    assert sorted(path.name for path in drawn[1:]) == (["4", "8"] if method == "progressive" else [])
    for path in drawn:
        student = open_run(diffusion.saved(str(path)), path)
        assert np.isfinite(student.generate(student.params, 0, np.arange(8), 1.0)).all()


@pytest.fixture
def student(distill, root):
    """The folder of a student by progressive distillation."""
    if not (root / "progressive" / "samples.png").exists():
        distill(root / "progressive", "progressive", SMALL)
    return root / "progressive"


@pytest.mark.slow
def test_distillation_continues_with_the_same_teacher_only(distill, student, tmp_path, capsys):
    folder = shutil.copytree(student, tmp_path / "student")
    capsys.readouterr()
    distill(folder, "progressive", f"{SMALL} training.steps=6")
    assert "resuming  from step 4" in capsys.readouterr().out
    error = error_of(distill, folder, "progressive", f"{SMALL} sampling.guidance_scale=3")
    assert "config.sampling.guidance_scale=3.0: the run in" in error


@pytest.mark.slow
def test_benchmark_compares_the_teacher_with_its_students(ring_run, student, tmp_path):
    flags = ["--steps=2", "--updates=0", "--num=16", f"--out={tmp_path / 'few'}"]
    out = succeeds("benchmarks.few_steps", f"--workdir={ring_run}", f"--students={student}", *flags)
    rows = out.split("steps  calls")[1].splitlines()
    assert sum(line.startswith(("progressive", "teacher")) for line in rows) == 3

"""Students: what the folder of one holds, how it continues, and which commands are errors."""

import json
import shutil

import numpy as np
import pytest
from programs import ROOT, give, run

from experiments import tasks
from experiments.cli.command_line import load_config, override
from experiments.cli.config import ConfigError
from experiments.cli.endings import one_line
from experiments.configs import base
from experiments.models.runs import open_run
from experiments.training import distillation

SMALL = {
    "training.steps": 4,
    "training.warmup_steps": 1,
    "training.batch_size": 16,
    "training.sample_every": 2,
    "training.checkpoint_every": 2,
    "sampling.batch_size": 8,
    "evaluation.num_samples": 16,
    "evaluation.bound_times": 1,
}

METHODS = ("progressive", "consistency", "matching", "lagrangian")  # the other flow maps differ in their loss alone


@pytest.fixture
def distill(load_program, ring_run):
    """Trains a student with these overrides of its config."""
    program = load_program("experiments.train")

    def main(folder, method, overrides, steps=2):
        config = load_config(f"{ROOT}/experiments/configs/distil.py:{ring_run},{method}")
        for field, value in {"distillation.steps": steps, **overrides}.items():
            override(config, field, str(value))
        give(config="", workdir=folder)
        tasks.check_fields(config)
        program.main(config)

    return main


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for the student of each method, kept for the tests that continue it."""
    return {method: tmp_path_factory.mktemp("students") / method for method in METHODS}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_student_is_a_run_that_can_be_sampled(distill, folders, method, capsys):
    folder = folders[method]
    distill(folder, method, SMALL)
    out, err = capsys.readouterr()
    assert str(folder) in out.splitlines()[-1]
    assert "training 4/4 (100%)" in err
    assert (folder / "samples.png").exists()
    assert json.loads((folder / "distillation.json").read_text())["config.distillation.method"] == method
    assert (folder / "report.html").exists()
    drawn = [folder, *(folder / "rounds").glob("*")]
    assert sorted(path.name for path in drawn[1:]) == (["4", "8"] if method == "progressive" else [])
    for path in drawn:
        student = open_run(base.saved(str(path)), path)
        assert np.isfinite(student.generate(student.params, 0, np.arange(8), 1.0)).all()


@pytest.fixture
def student(distill, folders):
    """The folder of a student by progressive distillation."""
    folder = folders["progressive"]
    if not (folder / "samples.png").exists():
        distill(folder, "progressive", SMALL)
    return folder


@pytest.mark.slow
def test_distillation_continues_with_the_same_teacher_only(distill, student, tmp_path, capsys):
    folder = shutil.copytree(student, tmp_path / "student")
    capsys.readouterr()
    distill(folder, "progressive", {**SMALL, "training.steps": 6})
    assert "resuming  from step 4" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"config.sampling.guidance_scale=3.0: the student in"):
        distill(folder, "progressive", {**SMALL, "sampling.guidance_scale": 3})


@pytest.mark.slow
def test_benchmark_compares_the_teacher_with_its_students(ring_run, student):
    code, out, err = run(
        "benchmarks.few_steps", f"--workdir={ring_run}", f"--students={student}", "--steps=2", "--solvers=euler",
        "--grids=uniform", "--num=16",
    )  # fmt: skip
    assert code == 0, err
    rows = out.split("steps  calls")[1].splitlines()
    assert sum(line.startswith(("progressive", "teacher")) for line in rows) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"guidance": "cfg_plus_plus", "sampling.solver.name": "ddim", "sampling.guidance_scale": 1},
            "must keep alpha x0 + sigma eps = x_t for config.distillation.method=progressive, which cfg_plus_plus does",
        ),
        (
            {"guidance": "conditional", "sampling.guidance_scale": 1, "distillation.guidance_max": 3},
            "config.distillation.guidance_max=3.0: must be None with config.guidance=conditional, which has no "
            "guidance",
        ),
        ({"training.steps": 50}, "error: config.training.steps=50: must be above training.warmup_steps = 50"),
    ],
)
def test_configs_that_cannot_be_distilled_are_one_line_errors(distill, tmp_path, capsys, overrides, message):
    method = "lagrangian" if "distillation.guidance_max" in overrides else "progressive"
    with pytest.raises(SystemExit) as stop, one_line():
        distill(tmp_path, method, overrides, steps=4)
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_the_recipe_of_a_student_of_an_earlier_version_is_read(tmp_path):
    old = {"--method": "matching", "--steps": 1, "--workdir": "runs/points", "--step": 2, "config.guidance": ["a"]}
    (tmp_path / distillation.RECIPE).write_text(json.dumps(old))
    named = {f"config.distillation.{name}" for name in ("method", "steps", "teacher", "checkpoint")}
    assert distillation.recipe_of(tmp_path).keys() == {*named, "config.guidance"}
    with pytest.raises(
        ConfigError, match=r"config.guidance=\['b'\]: the student in .* has \['a'\]; use another --work"
    ):
        distillation.keep_recipe(tmp_path, {**distillation.recipe_of(tmp_path), "config.guidance": ("b",)})


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", "must be followed by :<folder of a run>,<method>"),
        ("nowhere,matching", "--config.distillation.teacher=nowhere: there is no run here"),
        ("RUN,fast", "config.distillation.method=fast: must be one of progressive, consistency, matching"),
    ],
)
def test_a_student_needs_a_teacher_and_a_method(ring_run, tmp_path, argument, message):
    given = f"--config=experiments/configs/distil.py:{argument.replace('RUN', str(ring_run))}"
    code, _, err = run("train", given, f"--workdir={tmp_path}/student")
    assert (code, err.count("\n")) == (2, 1)
    assert message in err

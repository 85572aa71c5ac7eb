"""Distils a trained model into a student that draws in 1 to 4 steps, without guidance, what its teacher draws with it.

    python -m experiments.distill --workdir=runs/digits --student_dir=runs/digits_fast --method=progressive --steps=4
    python -m experiments.distill --workdir=runs/digits --student_dir=runs/digits_1 --method=matching --steps=1 \
        --config.sampling.guidance_scale=1 --config.training.steps=3000
    python -m experiments.distill --workdir=runs/digits --student_dir=runs/digits_gan --method=matching --steps=1 \
        --config.distillation.adversarial.weight=0.01
    python -m experiments.distill --workdir=runs/digits --student_dir=runs/digits_map --method=lagrangian --steps=1 \
        --config.distillation.guidance_max=4

The teacher is guided as its config says: the student learns γ (``--config.sampling.guidance_scale``) and the rules
(``--config.guidance``). ``--config.distillation.…`` has the hyper-parameters of the method
(:mod:`experiments.training.students`, :mod:`experiments.training.flow_map_students`), ``--config.training.…`` those of
its training. ``student_dir`` is a folder like any other of ``experiments.train``: sample and evaluate it with
``experiments.sample`` and ``experiments.evaluate``. The same command continues a run that was stopped.
"""

import time
from pathlib import Path

from absl import flags

from experiments import training
from experiments.cli import command_line, distributed, outputs, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.config_help import declared_by
from experiments.cli.fields import Section
from experiments.configs import base
from experiments.models.runs import Run, open_run
from experiments.reporting.pictures import sample_picture
from experiments.training import distillation, lock, students

_WORKDIR = shared.workdir("Folder of the teacher's run.")
_STUDENT = flags.DEFINE_string("student_dir", None, "Folder of the student.", required=True)
_METHOD = flags.DEFINE_enum("method", "progressive", list(students.SECTIONS), "What the student learns.")
_STEPS = shared.count("steps", 4, "Steps that the student draws in.")
_CHECKPOINT = shared.step("Checkpoint of the teacher; the newest by default.")

shared.distributed()


@declared_by(lambda config: Section({**base.FIELDS, "distillation": students.SECTIONS[_METHOD.value]}))
def check_fields(config: Config) -> None:
    """Validates the fields of the run, and those of the distillation."""
    own, options = students.split_fields(config)
    base.check_fields(own)
    students.check(options, _METHOD.value)


def draw(path, config, run, generate, params, title):
    """A picture of a student's samples."""
    return sample_picture(path, config, run.dataset, generate, params, title)


def main(config: Config) -> None:
    start = time.monotonic()
    workdir, folder = shared.path(_WORKDIR, buckets=True), shared.path(_STUDENT, buckets=True)
    require(
        config.training.steps > config.training.warmup_steps,
        "training.steps",
        config.training.steps,
        f"above training.warmup_steps = {config.training.warmup_steps}",
    )
    if outputs.same_place(folder, workdir):
        raise ConfigError(f"--student_dir={folder}: must be another folder than that of the teacher")
    distillation.check_student(folder)
    config, options = students.split_fields(config)
    method, scale = _METHOD.value, config.sampling.guidance_scale
    training.check(config)
    training.check_devices(config)
    teacher_config = config.copy_and_resolve_references()
    teacher_config.training = base.saved(str(workdir)).training
    with lock.hold(folder, "--student_dir"):
        scales = (scale, options.get("guidance_max") or scale)
        run = open_run(teacher_config, workdir, _CHECKPOINT.value, scales)
        distillation.check_teacher(config, options, run, method)
        distil(config, options, run, folder, start)


def distil(config: Config, options: Config, run: Run, folder: Path, start: float) -> None:
    """Trains the student and draws from it."""
    method, steps, scale = _METHOD.value, _STEPS.value, config.sampling.guidance_scale
    distillation.check_same_teacher(folder, {
        "--method": method, "--steps": steps, "--workdir": str(shared.path(_WORKDIR, buckets=True)), "--step": run.step,
        "config.sampling.guidance_scale": scale, "config.guidance": config.guidance,
        "config.rules": config.rules.to_dict(), **distillation.facts(options),
    })  # fmt: skip
    most = options.get("guidance_max")
    guided = f"γ {f'= {scale:g}' if most is None else f'from 1 to {most:g}'}, {' + '.join(config.guidance)}"
    count = f"{steps} step{'s' * (steps > 1)}"
    print(f"distilling step {run.step:,} at {guided} into {count} by {method} …", flush=True)
    found = distillation.distil(config, options, run, method, steps, folder, draw)
    student = open_run(found, folder)
    title = f"{count}, {method} distillation of {guided}"
    picture = sample_picture(
        distributed.folder(folder) / "samples.png", found, run.dataset, student.generate, student.params, title
    )
    print(f"sample it with python -m experiments.sample --workdir={folder}")
    print(progress.final_line(f"{picture} and {folder}", time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: students.with_fields(base.saved(_WORKDIR.value), _METHOD.value), check_fields)

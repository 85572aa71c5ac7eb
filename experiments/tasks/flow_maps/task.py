"""A student, whose 1 to 4 steps without guidance replace the many guided steps of a trained model.

It is saved as a run of its own task, a diffusion, with its recipe in ``distillation.json``. The teacher is guided as
the config says: the student learns γ (``config.sampling.guidance_scale``) and the rules (``config.guidance``).
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp

from experiments.cli import flags, outputs
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.fields import Field, Section, Text
from experiments.data.dataset import Dataset
from experiments.models import inputs
from experiments.models.run_files import config_of
from experiments.reporting.samples import drawing
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.model import Model as Denoising
from experiments.tasks.diffusion.model import build_model
from experiments.tasks.diffusion.runs import open_run as open_teacher
from experiments.tasks.diffusion.sampling import build_sampler, make_sampler
from experiments.tasks.flow_maps import distillation, flow_map_students, students
from experiments.tasks.task import Model, Run, unchanged
from experiments.training import build_optimizer
from experiments.training.held_out import held_out_loss
from experiments.training.loop import Trainable
from experiments.training.train_network import train_network
from scorekit import flow_maps
from scorekit.arguments import Count, OneOf
from scorekit.io import as_path, in_bucket
from scorekit.typing import Array, PyTree, Schedule

RECIPE = Section(
    teacher=Field(None, Text("a folder"), "Folder of the run of the teacher."),
    method=Field("progressive", OneOf(*students.SECTIONS), "What the student learns."),
    steps=Field(4, Count(1, 10**8), "Steps that the student draws in."),
    checkpoint=Field(None, Count(0), "Checkpoint of the teacher; None is the newest."),
)
"""The fields of ``config.distillation`` that all methods have."""
OPENED_BY = "is a student"
open_run, drawn_by, evaluate, resolve = diffusion.open_run, diffusion.drawn_by, diffusion.evaluate, unchanged


class Plan(NamedTuple):
    """The teacher, its config as it is guided, and the section ``distillation``."""

    teacher: Run
    config: Config
    options: Config


def fields(config: Config | None = None) -> Section:
    """The fields of the teacher's config, and of the distillation by its method."""
    method = "progressive" if config is None else config.distillation.method
    task = Field("student", OneOf("student"), diffusion.FIELDS["task"].meaning)
    own = Section({**RECIPE, **students.SECTIONS.get(method, {})})
    return Section({**diffusion.FIELDS, "task": task, "distillation": own})


def config_of_student(teacher: str, of_teacher: Config, method: str) -> Config:
    """The config that trains a student by a method of :data:`experiments.tasks.flow_maps.students.SECTIONS`, from the
    run in the folder ``teacher`` with the config ``of_teacher``."""
    require(method in students.SECTIONS, "distillation.method", method, f"one of {', '.join(students.SECTIONS)}")
    config = students.with_fields(of_teacher, method)
    with config.unlocked():
        config.task = "student"
        config.distillation = Section({**RECIPE, **students.SECTIONS[method]}).but(method=method).defaults()
    config.distillation.teacher = teacher if in_bucket(teacher) else str(as_path(teacher).absolute())
    return config


def check(config: Config) -> None:
    """Validates the steps of training, and the fields of the method."""
    options = config.distillation
    require(
        config.training.steps > config.training.warmup_steps,
        "training.steps",
        config.training.steps,
        f"above training.warmup_steps = {config.training.warmup_steps}",
    )
    students.check(options)


def check_continues(config, workdir):
    if outputs.same_place(workdir, as_path(config.distillation.teacher)):
        raise ConfigError(f"--workdir={workdir}: must be another folder than the teacher's")
    distillation.check_student(workdir)


def _teacher(config: Config) -> tuple[Config, Config, Path]:
    """The config of the teacher as it is guided, the section ``distillation`` and the folder of the teacher."""
    own, options = students.split_fields(config)
    own.task = diffusion.FIELDS["task"].default
    return own, options, as_path(options.teacher)


def load(config):
    own, _, folder = _teacher(config)
    return inputs.load_data(own, folder)


def build(config, dataset):
    check(config)
    own, options, folder = _teacher(config)
    guided, scale = own.copy_and_resolve_references(), own.sampling.guidance_scale
    guided.training = config_of(folder, f"config.distillation.teacher={folder}").training
    with flags.named("config.distillation.teacher"):
        scales = scale, options.get("guidance_max") or scale
        teacher = open_teacher(guided, folder, options.checkpoint, scales, dataset=dataset)
    distillation.check_teacher(own, options, teacher, options.method)
    found = published(own, options, teacher.model.schedule)
    checks.check(found, dataset)
    model = build_model(found, dataset) if options.method in flow_map_students.LOSSES else teacher.model
    plan = Plan(teacher, own, options)
    return Model(found, model, "network", first(dataset, found, plan), make_sampler(found, model, dataset), plan)


def first_times(own: Config, options: Config, schedule: Schedule) -> Array:
    """The times of the teacher in the first round of progressive distillation."""
    first = 2 * options.steps
    while first < options.teacher_steps:
        first *= 2
    return students.configured_grid(own, schedule, first)


def published(own: Config, options: Config, schedule: Schedule) -> Config:
    """The config of the run that the student becomes."""
    steps, method = options.steps, options.method
    if method == "progressive":
        ts = first_times(own, options, schedule)
        return students.config_of_student(own, method, ts[:: (len(ts) - 1) // steps])
    ends = build_sampler(own, schedule)[1]
    found = students.config_of_student(own, method, students.flow_grid(schedule, steps, ends[0], ends[-1]))
    if method in flow_map_students.LOSSES:
        found = flow_map_students.configured(found, method, options, steps, own.sampling.guidance_scale)
    return found


def training_task(dataset: Dataset, found: Config, plan: Plan) -> tuple[Denoising, students.TrainingTask]:
    """The network that is trained by any method but the progressive one, and its training task."""
    run, own, options = plan
    teacher, schedule = distillation.teacher_of(own, run), run.model.schedule
    if options.method in flow_map_students.LOSSES:
        student = flow_map_students.student_of(found, run, teacher)
        task = students.TrainingTask(student.params, student.prepare, student.loss, lambda params: params)
        return student.model, task
    if options.method == "consistency":
        ends = build_sampler(own, schedule)[1]
        path = students.flow_grid(schedule, options.last, ends[0], ends[-1])
        return run.model, students.consistency(run.model, dataset, run.params, teacher, path, options)
    ts = jnp.asarray(found.sampling.grid.times)
    return run.model, students.matching(run.model, dataset, run.params, teacher, ts, options, own.training)


def trainable_of(config: Config, dataset: Dataset, model: Denoising, task: students.TrainingTask) -> Trainable:
    """A student, which is saved as a run of ``config``."""
    generate = make_sampler(config, model, dataset)
    draw = drawing(config, dataset, generate, f"{config.sampling.steps} steps, after {{:,}} of training")
    return Trainable(
        init=lambda key: task.params,
        prepare=task.prepare,
        loss=task.loss,
        optimizer=task.optimizer or build_optimizer(config.training),
        held_out=task.held_out or held_out_loss(task.prepare, task.loss, dataset, 256),
        ema=config.sampling.ema,
        draw=lambda path, params, step: draw(path, task.student(params), step),
    )


def first(dataset: Dataset, found: Config, plan: Plan) -> Trainable:
    """The student that is trained, or the first of several."""
    run, own, options = plan
    if options.method != "progressive":
        return trainable_of(found, dataset, *training_task(dataset, found, plan))
    ts = first_times(own, options, run.model.schedule)
    task = students.progressive(run.model, dataset, run.params, distillation.teacher_of(own, run), ts)
    return trainable_of(students.config_of_student(own, options.method, ts[::2]), dataset, run.model, task)


def train(config, dataset, model, workdir):
    run, own, options = model.plan
    scale, most, steps = own.sampling.guidance_scale, options.get("guidance_max"), options.steps
    distillation.keep_recipe(
        workdir,
        {
            **distillation.facts(options),
            "config.distillation.checkpoint": run.step,
            "config.sampling.guidance_scale": scale,
            "config.guidance": own.guidance,
            "config.rules": own.rules.to_dict(),
        },
    )
    guided = f"γ {f'= {scale:g}' if most is None else f'from 1 to {most:g}'}, {' + '.join(own.guidance)}"
    count = f"{steps} step{'s' * (steps > 1)}"
    print(f"distilling step {run.step:,} at {guided} into {count} by {options.method} …", flush=True)
    if options.method == "progressive":
        return rounds(dataset, model, workdir)
    network, task = training_task(dataset, model.config, model.plan)
    more = options.method == "matching"  # more is trained than the student
    one = trainable_of(model.config, dataset, network, task)
    params = task.student(train_network(model.config, workdir / "training" if more else workdir, one, dataset))
    if more:
        distillation.publish(model.config, workdir, dataset, params, model.config.training.steps)
    return params


def rounds(dataset: Dataset, model: Model, workdir: Path) -> PyTree:
    """The rounds of progressive distillation: each student is the teacher of the next."""
    run, own, options = model.plan
    ts, params, teacher = first_times(own, options, run.model.schedule), run.params, distillation.teacher_of(own, run)
    counts = flow_maps.halvings(len(ts) - 1, options.steps)
    for i, count in enumerate(counts, start=1):
        print(f"round {i} of {len(counts)}: {2 * count} steps of the teacher in {count} …", flush=True)
        task = students.progressive(run.model, dataset, params, teacher, ts)
        ts = ts[::2]
        found = students.config_of_student(own, options.method, ts)
        where = workdir if count == options.steps else workdir / "rounds" / str(count)
        params = train_network(found, where, trainable_of(found, dataset, run.model, task), dataset)
        teacher = functools.partial(run.model.denoiser, params)
    return params

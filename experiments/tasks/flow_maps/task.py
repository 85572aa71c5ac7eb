"""A student, whose 1 to 4 steps without guidance replace the many guided steps of a trained model.

It is saved as a run of its own task, a diffusion, with its recipe in ``distillation.json``. The teacher is guided as
the config says: the student learns γ (``config.sampling.guidance_scale``) and the rules (``config.guidance``).
"""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli import distributed, flags, outputs
from experiments.cli.config import Config, ConfigError, leaves, require, save_resolved
from experiments.cli.fields import Field, Section
from experiments.data.dataset import Dataset
from experiments.models import run_files
from experiments.models.conditioning import GUIDANCE, conditions_for
from experiments.reporting.samples import drawing
from experiments.tasks.diffusion import checks, guidance
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import make_sampler
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.runs import open_score
from experiments.tasks.flow_maps import students
from experiments.tasks.flow_maps.distillation import TrainingTask, progressive, teacher_of, training_task
from experiments.tasks.flow_maps.students import MAP_LOSSES, SECTIONS, config_of_student
from experiments.tasks.task import Run, Setup, unchanged
from experiments.training import build_optimizer
from experiments.training.loop import Trainable, held_out_loss, train_network
from experiments.training.run import check_same
from scorekit import flow_maps, training
from scorekit.arguments import OneOf
from scorekit.io import as_path, in_bucket, write_atomic
from scorekit.typing import PyTree

RECIPE = "distillation.json"
"""The file of a student with its teacher, method and settings."""
OPENED_BY = "is a student"
open_run, drawn_by, evaluate, resolve = diffusion.open_run, diffusion.drawn_by, diffusion.evaluate, unchanged


def fields(config: Config | None = None) -> Section:
    """The fields of the teacher's config, and of the distillation by its method."""
    method = "progressive" if config is None else config.distillation.method
    task = Field("student", OneOf("student"), diffusion.FIELDS["task"].meaning)
    return Section({**diffusion.FIELDS, "task": task, "distillation": SECTIONS.get(method, SECTIONS["progressive"])})


def config_to_train(teacher: str, of_teacher: Config, method: str) -> Config:
    """The config that trains a student by a method of :data:`experiments.tasks.flow_maps.students.SECTIONS`, from the
    run in the folder ``teacher`` with the config ``of_teacher``."""
    require(method in SECTIONS, "distillation.method", method, f"one of {', '.join(SECTIONS)}")
    config = students.with_fields(of_teacher, method)
    with config.unlocked():
        config.task = "student"
    config.distillation.teacher = teacher if in_bucket(teacher) else str(as_path(teacher).absolute())
    return config


def check(config: Config) -> None:
    """Validates the steps of training, and the fields of the method."""
    steps, warmup, options = config.training.steps, config.training.warmup_steps, config.distillation
    require(steps > warmup, "training.steps", steps, f"above training.warmup_steps = {warmup}")
    if options.method == "consistency":
        require(options.first <= options.last, "distillation.first", options.first, f"at most last = {options.last}")
    if options.method == "matching":
        require(options.t_min < options.t_max, "distillation.t_min", options.t_min, f"below t_max = {options.t_max}")


def _check_folder(config: Config, workdir: Path) -> None:
    """Validates that ``workdir`` holds neither the teacher nor another run that is no student."""
    if outputs.same_place(workdir, as_path(config.distillation.teacher)):
        raise ConfigError(f"--workdir={workdir}: must be another folder than the teacher's")
    if (workdir / "config.json").exists() and not (workdir / RECIPE).exists():
        raise ConfigError(f"--workdir={workdir}: it holds a run that is not a student and is kept; use another folder")


def _teacher(config: Config) -> tuple[Config, Config, Path]:
    """The config of the teacher as it is guided, the section ``distillation`` and the folder of the teacher."""
    own, options = students.split_fields(config)
    own.task = diffusion.FIELDS["task"].default
    return own, options, as_path(options.teacher)


def load(config):
    own, _, folder = _teacher(config)
    return data.load(own, folder)


def build(config, dataset):
    check(config)
    own, options, folder = _teacher(config)
    guided, scale = own.copy_and_resolve_references(), own.sampling.guidance_scale
    guided.training = run_files.config_of(folder, f"config.distillation.teacher={folder}").training
    with flags.named("config.distillation.teacher"):
        scales = scale, options.get("guidance_max") or scale
        teacher = open_score(guided, folder, options.checkpoint, scales, dataset=dataset)
    check_teacher(own, options, teacher)
    student = config_of_student(own, options, teacher.model.schedule)
    sampler = checks.build(student, dataset)
    if options.method not in MAP_LOSSES:
        sampler = make_sampler(student, teacher.model, dataset)
    trained = first(dataset, student, teacher, own, options)
    return Setup(student, sampler.model, "network", trained, sampler, plan=(teacher, own, options))


def check_teacher(config: Config, options: Config, run: Run) -> None:
    """Raises an error for guidance that no student can learn; compiles nothing."""
    rule, most, given_as = config.guidance[0], options.get("guidance_max"), f"guidance={','.join(config.guidance)}"
    allowed = f"None with config.{given_as}, which has no guidance scale"
    require(most is None or guidance.takes(rule, "guidance_scale"), "distillation.guidance_max", most, allowed)
    if options.method != "matching" and guidance.RULES[rule].traits.splits:
        raise ConfigError(
            f"config.{given_as}: must keep alpha x0 + sigma eps = x_t for "
            f"config.distillation.method={options.method}, which {rule} does not"
        )
    given = conditions_for(run.model, run.dataset, run.dataset.test["label"][:1])
    if most is not None:
        given[GUIDANCE] = np.ones(1, np.float32)
    x = jnp.zeros((1, *run.model.shape))
    try:
        jax.eval_shape(lambda: teacher_of(config, run)(jax.tree.map(jnp.asarray, given))(x, jnp.full(1, 0.5)))
    except ValueError as error:
        raise ConfigError(f"config.{given_as}: {error}") from error


def trainable_of(config: Config, dataset: Dataset, model: Model, task: TrainingTask) -> Trainable:
    """A student, which is saved as a run of ``config``."""
    generate = make_sampler(config, model, dataset)
    about, scale = f"{config.sampling.steps} steps, after {{:,}} of training", config.sampling.guidance_scale
    draw = drawing(dataset, generate, config.seed, scale, about)
    return Trainable(
        init=lambda key: task.init(),
        prepare=task.prepare,
        loss=task.loss,
        optimizer=task.optimizer or build_optimizer(config.training),
        held_out=task.held_out or held_out_loss(task.prepare, task.loss, dataset, 256),
        ema=config.sampling.ema,
        draw=lambda path, params, step: draw(path, task.student(params), step),
    )


def first(dataset: Dataset, student: Config, run: Run, own: Config, options: Config) -> Trainable:
    """The student that is trained, or the first of several; ``own`` is the config of the teacher as it is guided."""
    if options.method != "progressive":
        return trainable_of(student, dataset, *training_task(student, own, options, run))
    ts = students.first_times(own, options, run.model.schedule)
    task = progressive(run.model, dataset, run.params, teacher_of(own, run), ts)
    return trainable_of(students.config_at(own, options.method, ts[::2]), dataset, run.model, task)


def train(config, dataset, setup, workdir):
    _check_folder(config, workdir)
    run, own, options = setup.plan
    scale, most, steps = own.sampling.guidance_scale, options.get("guidance_max"), options.steps
    recipe = {
        **{f"config.distillation.{name}": value for name, value in leaves(options)},
        "config.distillation.checkpoint": run.step,
        "config.sampling.guidance_scale": scale,
        "config.guidance": own.guidance,
        "config.rules": own.rules.to_dict(),
    }
    keep_recipe(workdir, recipe)
    guided = f"γ {f'= {scale:g}' if most is None else f'from 1 to {most:g}'}, {' + '.join(own.guidance)}"
    count = f"{steps} step{'s' * (steps > 1)}"
    print(f"distilling step {run.step:,} at {guided} into {count} by {options.method} …", flush=True)
    if options.method == "progressive":
        return rounds(dataset, setup, workdir)
    if options.method != "matching":
        return train_network(setup.config, workdir, setup.trained, dataset)
    params = train_network(setup.config, workdir / "training", setup.trained, dataset)["student"]
    publish(setup.config, workdir, dataset, params)
    return params


def rounds(dataset: Dataset, setup: Setup, workdir: Path) -> PyTree:
    """The rounds of progressive distillation: each student is the teacher of the next."""
    run, own, options = setup.plan
    ts, params, teacher = students.first_times(own, options, run.model.schedule), run.params, teacher_of(own, run)
    counts = flow_maps.halvings(len(ts) - 1, options.steps)
    for i, count in enumerate(counts, start=1):
        print(f"round {i} of {len(counts)}: {2 * count} steps of the teacher in {count} …", flush=True)
        task = progressive(run.model, dataset, params, teacher, ts)
        ts = ts[::2]
        student = students.config_at(own, options.method, ts)
        where = workdir if count == options.steps else workdir / "rounds" / str(count)
        params = train_network(student, where, trainable_of(student, dataset, run.model, task), dataset)
        teacher = functools.partial(run.model.denoiser, params)
    return params


def recipe_of(folder: Path) -> dict[str, Any]:
    """Teacher, method and settings of the student in ``folder``; empty without a student."""
    path = folder / RECIPE
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); use another --workdir") from error


def keep_recipe(folder: Path, recipe: dict[str, Any]) -> None:
    """Raises an error if the student in ``folder`` has another teacher, method or setting; saves new ones."""
    recipe, old = json.loads(json.dumps(recipe)), recipe_of(folder)
    if old:
        check_same(recipe, old, folder)
    elif distributed.is_first():
        write_atomic(folder / RECIPE, json.dumps(recipe, indent=2) + "\n")


def publish(config: Config, folder: Path, dataset: Dataset, params: PyTree) -> None:
    """Saves a student in ``folder`` as a run of ``experiments.train`` would be."""
    options = config.training
    optimizer = training.make_optimizer(options.learning_rate, 0, options.steps)
    state = training.init_state(jax.random.key(config.seed), params, optimizer, options.ema_decays)
    if distributed.is_first():
        save_resolved(config, folder / "config.json")
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        meaning = run_files.record(config, dataset.encoder, dataset.class_names)
        checkpoints.save(options.steps, state, extra=meaning)
        checkpoints.wait()

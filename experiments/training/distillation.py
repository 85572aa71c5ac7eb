"""Distilling a run into a student: the teacher, the rounds, and the run that the student becomes."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import distributed
from experiments.cli.config import Config, ConfigError, leaves, save_resolved
from experiments.models import rules, weights
from experiments.models.conditioning import conditions_for
from experiments.models.guided import make_guided
from experiments.models.loss import held_out_loss
from experiments.models.model import GUIDANCE, denoiser
from experiments.models.restoring import averaged
from experiments.models.runs import Run
from experiments.models.sampling import build_sampler, make_sampler
from experiments.training import flow_map_students, loop, students
from scorekit import flow_maps, training
from scorekit.io import write_atomic
from scorekit.typing import PyTree

FACTS = "distillation.json"
"""The file of a student that says what it is of."""
Draw = Callable[[Path, Config, Run, Callable, PyTree, str], Path]
"""``(path, config, run, generate, params, title) -> path`` of a picture."""


def teacher_of(config: Config, run: Run) -> students.Teacher:
    """The guided model, of the γ that is among the conditions, or else that of the config."""
    scale = rules.traced_scale(config, config.sampling.guidance_scale)
    guided = make_guided(config, run.model)

    def teacher(given):
        others = {name: value for name, value in given.items() if name != GUIDANCE}
        return guided(run.params, others, given.get(GUIDANCE, scale), run.extras)

    return teacher


def check_teacher(config: Config, options: Config, run: Run, method: str) -> None:
    """Raises an error for guidance that no student can learn; compiles nothing."""
    flow_map_students.check(config, options)
    if method != "matching" and rules.RULES[config.guidance[0]].traits.splits:
        raise ConfigError(
            f"config.guidance={','.join(config.guidance)}: must keep alpha x0 + sigma eps = x_t for --method={method}, "
            f"which {config.guidance[0]} does not"
        )
    given = conditions_for(run.model, run.dataset, run.dataset.test["label"][:1])
    if options.get("guidance_max") is not None:
        given[GUIDANCE] = np.ones(1, np.float32)
    x = jnp.zeros((1, *run.model.shape))
    try:
        jax.eval_shape(lambda: teacher_of(config, run)(jax.tree.map(jnp.asarray, given))(x, jnp.full(1, 0.5)))
    except ValueError as error:
        raise ConfigError(f"config.guidance={','.join(config.guidance)}: {error}") from error


def facts(options: Config) -> dict[str, Any]:
    """The fields by name, without those of an adversarial term that is off."""
    off = "adversarial" in options and options.adversarial.weight is None
    found = {f"config.distillation.{name}": value for name, value in leaves(options)}
    return {name: v for name, v in found.items() if not (off and name.startswith("config.distillation.adversarial."))}


def check_student(folder: Path) -> None:
    """Raises an error if the run in ``folder`` is no student."""
    if (folder / "config.json").exists() and not (folder / FACTS).exists():
        raise ConfigError(f"--student_dir={folder}: there is a run of no student, which is kept; use another folder")


def check_same_teacher(folder: Path, facts: dict) -> None:
    """Raises an error if the student in ``folder`` has another teacher, method or setting; saves new ones."""
    path = folder / FACTS
    facts = json.loads(json.dumps(facts))
    if not path.exists():
        if distributed.is_first():
            write_atomic(path, json.dumps(facts, indent=2) + "\n")
        return
    try:
        old = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); use another --student_dir") from error
    for name in {**old, **facts}:
        if old.get(name) != facts.get(name):
            raise ConfigError(
                f"{name}={facts.get(name)}: the student in {folder} has {old.get(name)}; use another --student_dir, or "
                f"the old value to continue it"
            )


def fit_student(run: Run, config: Config, folder: Path, task: students.TrainingTask, where: Path, draw: Draw) -> PyTree:
    """Trains a student in ``where``; returns the averaged parameters. ``config`` is that of the student."""
    loop.check_same_run(config, where)
    generate = make_sampler(config, run.model, run.dataset)

    def draw_student(path, params, step):
        title = f"{config.sampling.steps} steps, after {step:,} of training"
        return draw(path, config, run, generate, task.student(params), title)

    held_out = task.held_out or held_out_loss(task.prepare, task.loss, run.dataset, 256)
    state = loop.fit(
        config, where, run.dataset, params=task.params, prepare=task.prepare, loss=task.loss, ema=config.sampling.ema,
        held_out=held_out, draw=draw_student, optimizer=task.optimizer,
    )  # fmt: skip
    params = task.student(averaged(state, config.sampling.ema))
    if where != folder and task.optimizer is not None:  # more was trained than the student
        publish(config, folder, run.dataset.encoder, params, int(state.step))
    return params


def publish(config: Config, folder: Path, encoder: str | None, params: PyTree, step: int) -> None:
    """Saves a student in ``folder`` as a run of ``experiments.train`` would be."""
    optimizer = training.make_optimizer(config.training.learning_rate, 0, config.training.steps)
    state = training.init_state(jax.random.key(config.seed), params, optimizer, config.training.ema_decays)
    if distributed.is_first():
        save_resolved(config, folder / "config.json")
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(step, state, extra=weights.record(config, encoder))
        checkpoints.wait()


def distil(config: Config, options: Config, run: Run, method: str, steps: int, folder: Path, draw: Draw) -> Config:
    """Trains the student, in rounds if the method has them; returns its config."""
    schedule, teacher = run.model.schedule, teacher_of(config, run)
    begin = functools.partial(students.config_of_student, config, method)
    if method == "progressive":
        first = 2 * steps
        while first < options.teacher_steps:
            first *= 2
        ts, params = students.configured_grid(config, schedule, first), run.params
        rounds = flow_maps.halvings(first, steps)
        for i, count in enumerate(rounds, start=1):
            print(f"round {i} of {len(rounds)}: {2 * count} steps of the teacher in {count} …", flush=True)
            task = students.progressive(run.model, run.dataset, params, teacher, ts)
            ts = ts[::2]
            found = begin(ts)
            where = folder if count == steps else folder / "rounds" / str(count)
            params = fit_student(run, found, folder, task, where, draw)
            teacher = functools.partial(denoiser, run.model, params)
        return found
    ends = build_sampler(config, schedule)[1]
    found = begin(students.flow_grid(schedule, steps, ends[0], ends[-1]))
    if method in flow_map_students.LOSSES:
        scale = config.sampling.guidance_scale
        found = flow_map_students.configured(found, method, options, steps, scale)
        student = flow_map_students.student_of(found, run, teacher)
        task = students.TrainingTask(student.params, student.prepare, student.loss, lambda params: params)
        fit_student(run._replace(model=student.model), found, folder, task, folder, draw)
    elif method == "consistency":
        path = students.flow_grid(schedule, options.last, ends[0], ends[-1])
        task = students.consistency(run.model, run.dataset, run.params, teacher, path, options)
        fit_student(run, found, folder, task, folder, draw)
    else:
        ts = jnp.asarray(found.sampling.grid.times)
        task = students.matching(run.model, run.dataset, run.params, teacher, ts, options, config.training)
        fit_student(run, found, folder, task, folder / "training", draw)
    return found

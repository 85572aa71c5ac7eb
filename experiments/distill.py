"""Distils a trained model into a student that draws in 1 to 4 steps, without guidance, what its teacher draws with it.

    python -m experiments.distill --workdir=runs/digits --student_dir=runs/digits_fast --method=progressive --steps=4
    python -m experiments.distill --workdir=runs/digits --student_dir=runs/digits_1 --method=matching --steps=1 \
        --config.sampling.guidance_scale=1 --config.training.steps=3000

The teacher is guided as its config says: γ (``--config.sampling.guidance_scale``) and the rules (``--config.guidance``)
are built into the student. ``--config.distillation.…`` has the numbers of the method (:mod:`experiments.training.students`),
``--config.training.…`` those of its training. ``student_dir`` is a folder like any other of ``experiments.train``:
sample and evaluate it with ``experiments.sample`` and ``experiments.evaluate``. The same command continues a run that
was stopped.
"""

import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import flags

from experiments.models import choices as build, model, rules
from experiments.cli import command_line, progress
from experiments.training import loop, students
from experiments.reporting import pictures
from experiments.models.runs import Experiment, open_experiment, saved_config
from experiments.cli.config import Config, ConfigError, require, save_resolved
from scorekit import distillation, training
from scorekit.io.files import write_atomic
from scorekit.typing import PyTree

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the teacher's run.")
_STUDENT = flags.DEFINE_string("student_dir", None, "Folder of the student.", required=True)
_METHOD = flags.DEFINE_enum("method", "progressive", list(students.SECTIONS), "What the student learns.")
_STEPS = flags.DEFINE_integer("steps", 4, "Steps that the student draws in.", lower_bound=1)
_CHECKPOINT = flags.DEFINE_integer("step", None, "Checkpoint of the teacher; the newest by default.")


def check_teacher(config: Config, run: Experiment, method: str) -> None:
    """Refuses guidance that no student can learn, before anything is compiled."""
    if method != "matching" and rules.RULES[config.guidance[0]].splits:
        raise ConfigError(
            f"config.guidance={','.join(config.guidance)}: must keep alpha x0 + sigma eps = x_t for --method={method}, "
            f"which {config.guidance[0]} does not"
        )
    given = model.conditions_for(run.model, run.dataset, run.dataset.test["label"][:1])
    x = jnp.zeros((1, *run.model.shape))
    try:
        jax.eval_shape(lambda: teacher_of(config, run)(jax.tree.map(jnp.asarray, given))(x, jnp.full(1, 0.5)))
    except ValueError as error:
        raise ConfigError(f"config.guidance={','.join(config.guidance)}: {error}") from error


def teacher_of(config: Config, run: Experiment) -> students.Teacher:
    """The guided model."""
    scale = config.sampling.guidance_scale
    gamma = None if rules.is_plain(config, scale) else jnp.float32(scale)
    guided = model.make_guided(config, run.model)
    return lambda given: guided(run.params, given, gamma, run.extras)


def check_same_teacher(folder: Path, facts: dict) -> None:
    """Refuses to continue with another teacher, method or number; writes down what they are the first time."""
    path = folder / "distillation.json"
    facts = json.loads(json.dumps(facts))
    if not path.exists():
        write_atomic(path, json.dumps(facts, indent=2) + "\n")
        return
    old = json.loads(path.read_text())
    for name in {**old, **facts}:
        if old.get(name) != facts.get(name):
            raise ConfigError(
                f"{name}={facts.get(name)}: the student in {folder} has {old.get(name)}; use another --student_dir, or "
                f"the old value to continue it"
            )


def fit(run: Experiment, config: Config, folder: Path, lesson: students.Lesson, where: Path) -> PyTree:
    """Trains a student in ``where``; returns the averaged parameters. ``config`` is that of the student."""
    loop.check_same_run(config, where)
    generate = model.make_sampler(config, run.model, run.dataset)
    averaged = lambda state: state.ema[config.sampling.ema]

    def draw(path, params, step):
        title = f"{config.sampling.steps} steps, after {step:,} of training"
        return pictures.sample_picture(path, config, run.dataset, generate, lesson.student(params), title)

    held_out = lesson.held_out or held_out_loss(run, lesson)
    state = loop.fit(
        config, where, run.dataset, params=lesson.params, prepare=lesson.prepare, loss=lesson.loss, averaged=averaged,
        held_out=held_out, draw=draw, optimizer=lesson.optimizer,
    )  # fmt: skip
    params = lesson.student(averaged(state))
    if where != folder and lesson.optimizer is not None:  # what was trained is more than the student
        publish(config, folder, params, int(state.step))
    return params


def held_out_loss(run: Experiment, lesson: students.Lesson):
    """``params -> loss`` on up to 256 test examples, always at the same noise and times."""
    prepared = jax.jit(lesson.prepare)(jax.random.key(0), {k: v[:256] for k, v in run.dataset.test.items()})
    value = jax.jit(lambda params, prepared: lesson.loss(params, prepared)[0].mean())
    return lambda params: float(value(params, prepared))


def publish(config: Config, folder: Path, params: PyTree, step: int) -> None:
    """Leaves a student in ``folder`` as a run of ``experiments.train`` would."""
    optimizer = training.make_optimizer(config.training.learning_rate, 0, config.training.steps)
    state = training.init_state(jax.random.key(config.seed), params, optimizer, config.training.ema_decays)
    save_resolved(config, folder / "config.json")
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(step, state)
        checkpoints.wait()


def distil(config: Config, numbers: Config, run: Experiment, method: str, steps: int, folder: Path) -> Config:
    """Trains the student, in rounds if the method has them; returns its config."""
    schedule, teacher = run.model.schedule, teacher_of(config, run)
    begin = functools.partial(students.config_of_student, config, method)
    if method == "progressive":
        first = 2 * steps
        while first < numbers.teacher_steps:
            first *= 2
        ts, params = students.configured_grid(config, schedule, first), run.params
        rounds = distillation.halvings(first, steps)
        for i, count in enumerate(rounds, start=1):
            print(f"round {i} of {len(rounds)}: {2 * count} steps of the teacher in {count} …", flush=True)
            lesson = students.progressive(run.model, run.dataset, params, teacher, ts)
            ts = ts[::2]
            found = begin(ts)
            params = fit(run, found, folder, lesson, folder if count == steps else folder / "rounds" / str(count))
            teacher = functools.partial(model.denoiser, run.model, params)
        return found
    ends = build.build_sampler(config, schedule)[1]
    found = begin(students.flow_grid(schedule, steps, ends[0], ends[-1]))
    if method == "consistency":
        path = students.flow_grid(schedule, numbers.last, ends[0], ends[-1])
        lesson = students.consistency(run.model, run.dataset, run.params, teacher, path, numbers)
        fit(run, found, folder, lesson, folder)
    else:
        ts = jnp.asarray(found.sampling.grid.times)
        lesson = students.matching(run.model, run.dataset, run.params, teacher, ts, numbers, config.training)
        fit(run, found, folder, lesson, folder / "training")
    return found


def main(config: Config) -> None:
    start = time.monotonic()
    workdir, folder = (Path(str(f.value)).expanduser().absolute() for f in (_WORKDIR, _STUDENT))
    require(config.training.steps > config.training.warmup_steps, "training.steps", config.training.steps,
            f"above training.warmup_steps = {config.training.warmup_steps}")  # fmt: skip
    if folder == workdir:
        raise ConfigError(f"--student_dir={folder}: must be another folder than that of the teacher")
    config, numbers = students.split_fields(config)
    method, scale = _METHOD.value, config.sampling.guidance_scale
    loop.check_devices(config)
    teacher_config = config.copy_and_resolve_references()
    teacher_config.training = saved_config(str(workdir)).training
    run = open_experiment(teacher_config, workdir, _CHECKPOINT.value, (scale,))
    check_teacher(config, run, method)
    check_same_teacher(folder, {
        "--method": method, "--steps": _STEPS.value, "--workdir": str(workdir), "--step": run.step,
        "config.sampling.guidance_scale": scale, "config.guidance": config.guidance,
        "config.rules": config.rules.to_dict(), **{f"config.distillation.{k}": v for k, v in numbers.items()},
    })  # fmt: skip
    guided = f"γ = {scale:g}, {' + '.join(config.guidance)}"
    print(f"distilling step {run.step:,} at {guided} into {_STEPS.value} steps by {method} …", flush=True)
    found = distil(config, numbers, run, method, _STEPS.value, folder)
    student = open_experiment(found, folder, None)
    title = f"{_STEPS.value} steps, {method} distillation of {guided}"
    picture = pictures.sample_picture(
        folder / "samples.png", found, run.dataset, student.generate, student.params, title
    )
    print(f"sample it with python -m experiments.sample --workdir={folder}")
    print(progress.final_line(f"{picture} and {folder}", time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: students.with_fields(saved_config(_WORKDIR.value), _METHOD.value))

"""The methods to compare: what each trains, and the config that it is sampled with at a number of steps."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.benchmarks.few_steps.budget import CONSTANT, Trained, train
from experiments.cli.config import Config
from experiments.models import checks
from experiments.models.conditioning import dropout_rates
from experiments.models.loss import make_loss, make_prepare
from experiments.models.model import Model, build_model, denoiser
from experiments.models.runs import Run
from experiments.models.sampling import build_sampler
from experiments.training import distillation, flow_map_students, students
from experiments.training.students import TrainingTask
from scorekit import flow_maps
from scorekit.networks import with_new_parameters


class Ready(NamedTuple):
    """A trained model, and the config to sample it with."""

    steps: int
    config: Config
    model: Model
    trained: Trained


class Setting(NamedTuple):
    """What all methods are given: the config and run of the teacher, CPU seconds, and the numbers of steps."""

    config: Config
    run: Run
    seconds: float
    steps: Sequence[int]


Method = Callable[[Setting], Iterator[Ready]]

CLOCK: Mapping[str, Any] = {"preconditioning.noise.name": "clock"}
SCRATCH: Mapping[str, Any] = {**CLOCK, "schedule.name": "rectified_flow", "loss.target.name": "velocity"}
"""MeanFlow's schedule and target, with a noise input whose derivative along a path is bounded."""
TUNING: Mapping[str, Any] = {"loss.times.name": "log_normal_sigma", "sampling.grid.t_max": 0.95}
_LARGE: Mapping[str, Any] = {"training.batch_size": 256, "sampling.steps": 1}  # a class has several samples in a batch
_WINDOWS: Mapping[str, Any] = {
    "loss.flow_map.windows": (4, 8),
    "loss.flow_map.depth": 1,
    "loss.flow_map.penalty": 0.3,
    "sampling.steps": 1,
    "training.learning_rate": 4e-4,
    "training.betas": (0.5, 0.99),
}


def _any_steps(setting: Setting, config: Config, model: Model, trained: Trained) -> Iterator[Ready]:
    for n in setting.steps if config.loss.flow_map.name not in ("adversarial", "drifting") else (1,):
        changed = config.copy_and_resolve_references()
        changed.sampling.steps = n
        yield Ready(n, changed, model, trained)


def _with_training(config: Config, changes: Mapping[str, Any]) -> Config:
    config = config.copy_and_resolve_references()
    config.training.update(optimizer="adamw", ema_decays=(0.99,), power_ema=None, batch_size=64, **CONSTANT)
    config.update_from_flattened_dict(dict(changes))
    config.sampling.ema = str(config.training.ema_decays[0])
    return config


def scratch(loss: str, changes: Mapping[str, Any], setting: Setting, from_teacher: bool = False) -> Iterator[Ready]:
    """A flow map from data alone, and from random parameters or the teacher's."""
    config = _with_training(setting.config, changes)
    config.loss.flow_map.name = loss
    config.guidance = ("conditional",)
    config.sampling.solver.update(name="flow_map", gamma=None)
    config.sampling.grid.update(name="uniform")
    scale = 1.0 if config.loss.guidance_max is None else setting.config.sampling.guidance_scale
    config.sampling.guidance_scale, config.evaluation.guidance_scales = scale, (scale,)
    checks.check(config)
    dataset, model = setting.run.dataset, build_model(config, setting.run.dataset)
    if loss in ("stable_consistency", "consistency_tuning"):  # jumps to t = 0 alone
        config.sampling.solver.gamma = 1.0
    params = model.init(jax.random.key(config.seed))
    if from_teacher:
        params = with_new_parameters(setting.run.params, params)
    prepare = make_prepare(model, dataset, dropout_rates(config))
    task = TrainingTask(params, prepare, make_loss(model), lambda params: params)
    yield from _any_steps(setting, config, model, train(task, config, dataset, setting.seconds))


def _distilled(method: str, changes: Mapping[str, Any], setting: Setting):
    config = students.with_fields(setting.config.copy_and_resolve_references(), method)
    config.training.update(batch_size=64, **CONSTANT)
    config.update_from_flattened_dict(dict(changes))
    config, options = students.split_fields(config)
    teacher = distillation.teacher_of(config, setting.run)
    ends = build_sampler(config, setting.run.model.schedule)[1]
    grid = functools.partial(students.flow_grid, setting.run.model.schedule, t_max=ends[0], t_min=ends[-1])
    return config, options, teacher, grid


def flow_map(method: str, changes: Mapping[str, Any], setting: Setting) -> Iterator[Ready]:
    """A flow map from the teacher."""
    config, options, teacher, grid = _distilled(method, changes, setting)
    found = students.config_of_student(config, method, grid(1))
    found = flow_map_students.configured(found, method, options, 1, config.sampling.guidance_scale)
    student = flow_map_students.student_of(found, setting.run, teacher)
    task = TrainingTask(student.params, student.prepare, student.loss, lambda params: params)
    trained = train(task, found, setting.run.dataset, setting.seconds)
    yield from _any_steps(setting, found, student.model, trained)


def consistency(setting: Setting) -> Iterator[Ready]:
    """A consistency student, for any number of steps."""
    config, options, teacher, grid = _distilled("consistency", {}, setting)
    run = setting.run
    task = students.consistency(run.model, run.dataset, run.params, teacher, grid(options.last), options)
    trained = train(task, config, run.dataset, setting.seconds)
    for n in setting.steps:
        yield Ready(n, students.config_of_student(config, "consistency", grid(n)), run.model, trained)


def matching(setting: Setting) -> Iterator[Ready]:
    """A student of one step by distribution matching."""
    config, options, teacher, grid = _distilled("matching", {}, setting)
    run = setting.run
    task = students.matching(run.model, run.dataset, run.params, teacher, grid(1), options, config.training)
    trained = train(task, config, run.dataset, setting.seconds)
    yield Ready(1, students.config_of_student(config, "matching", grid(1)), run.model, trained)


def progressive(setting: Setting) -> Iterator[Ready]:
    """Students of 4, 2 and 1 steps, which share the time equally with the rounds before them."""
    config, options, teacher, _ = _distilled("progressive", {}, setting)
    run, params, spent, updates = setting.run, setting.run.params, 0.0, 0
    ts = students.configured_grid(config, run.model.schedule, options.teacher_steps)
    rounds = flow_maps.halvings(options.teacher_steps, 1)
    for n in rounds:
        task = students.progressive(run.model, run.dataset, params, teacher, ts)
        trained = train(task, config, run.dataset, setting.seconds / len(rounds))
        ts, params = ts[::2], trained.params
        spent, updates = spent + trained.seconds, updates + trained.updates
        teacher = functools.partial(denoiser, run.model, jax.tree.map(jnp.array, params))
        if n in setting.steps:
            found = students.config_of_student(config, "progressive", ts)
            yield Ready(n, found, run.model, Trained(params, updates, spent))


METHODS: Mapping[str, Method] = {
    **{name: functools.partial(flow_map, name, {}) for name in flow_map_students.LOSSES},
    "lagrangian_any_scale": functools.partial(flow_map, "lagrangian", {"distillation.guidance_max": 4.0}),
    "progressive": progressive,
    "consistency": consistency,
    "matching": matching,
    **{
        f"data_{name}": functools.partial(scratch, name, SCRATCH)
        for name in ("mean_flow", "improved_mean_flow", "eulerian", "lagrangian", "progressive", "shortcut")
    },
    "data_adversarial": functools.partial(scratch, "adversarial", {**SCRATCH, **_WINDOWS}),
    "data_drifting": functools.partial(scratch, "drifting", {**SCRATCH, **_LARGE}),
    "data_any_scale": functools.partial(scratch, "improved_mean_flow", {**SCRATCH, "loss.guidance_max": 4.0}),
    "data_stable_consistency": functools.partial(scratch, "stable_consistency", CLOCK),
    "data_consistency_tuning": functools.partial(scratch, "consistency_tuning", TUNING, from_teacher=True),
    "drifting": functools.partial(scratch, "drifting", _LARGE, from_teacher=True),
}
"""What can be trained, by name."""

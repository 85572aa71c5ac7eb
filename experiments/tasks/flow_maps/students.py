"""Training tasks of distillation: one function for each method, as the training loop takes them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.cli.config import Config, require
from experiments.cli.fields import POSITIVE, Field, Section
from experiments.data.dataset import Dataset, preprocess
from experiments.models.conditioning import conditions
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.sampling import GRIDS, has_listed_times
from experiments.tasks.flow_maps import adversarial, flow_map_students
from experiments.training import build_optimizer
from scorekit import flow_maps, weightings
from scorekit import times as time_samplers
from scorekit.arguments import Between, Count
from scorekit.metrics import energy_distance
from scorekit.predictions import X0, Score
from scorekit.schedules import rectified_flow
from scorekit.times import Times
from scorekit.trees import event_size
from scorekit.typing import Array, ArrayLike, Denoiser, PyTree, Schedule

Teacher = Callable[[Mapping[str, Any]], Denoiser]
"""Conditions to the denoiser that the student is to follow."""


class TrainingTask(NamedTuple):
    """Arguments of :class:`experiments.training.loop.Trainable` for a student; ``student`` picks its parameters out."""

    params: PyTree
    prepare: Callable
    loss: Callable
    student: Callable[[PyTree], PyTree]
    optimizer: Any = None
    held_out: Callable[[PyTree], float] | None = None


SECTIONS: Mapping[str, Section] = {
    "progressive": Section(
        teacher_steps=Field(16, Count(1, 10**6), "Steps of the teacher in the first round, at least."),
    ),
    "consistency": Section(
        first=Field(8, Count(1, 10**6), "Pieces of a path at the beginning of training."),
        last=Field(16, Count(1, 10**6), "Pieces at the end, by doublings."),
        scale=Field(0.1, POSITIVE, "Of the pseudo-Huber distance."),
    ),
    "matching": Section(
        student_rate=Field(0.2, POSITIVE, "The learning rate of the student over that of the fake network."),
        t_min=Field(0.02, Between(0, 1, "high"), "The least noise at which the distributions are matched."),
        t_max=Field(0.98, Between(0, 1, "low"), "The most noise at which they are."),
        adversarial=adversarial.FIELDS,
    ),
    **flow_map_students.SECTIONS,
}
"""The fields of ``config.distillation`` for each method."""

TRAINING: Mapping[str, Mapping[str, Any]] = {
    "progressive": {"steps": 800, "learning_rate": 1e-3},
    "consistency": {"steps": 3000, "learning_rate": 2e-3},
    "matching": {"steps": 1500, "learning_rate": 1e-3},
    **flow_map_students.TRAINING,
}
"""Fields of ``config.training`` by method; the steps are of a round."""

_NO_SNAPSHOTS = dict.fromkeys(("power_ema", "snapshot_every", "snapshot_dtype"))


def with_fields(config: Config, method: str) -> Config:
    """The config of a teacher's run with the fields of a distillation."""
    with config.unlocked():
        config.distillation = SECTIONS[method].defaults()
        config.training.optimizer = "adamw"  # whatever the teacher was trained with: the student starts close to it
    config.training.update(warmup_steps=50, ema_decays=(0.99,), **_NO_SNAPSHOTS, **TRAINING[method])
    return config.lock()


def split_fields(config: Config) -> tuple[Config, Config]:
    """The config of the teacher and the section ``distillation``, separated."""
    options = config.distillation
    config = config.copy_and_resolve_references()
    with config.unlocked():
        del config["distillation"]
    return config, options


def check(options: Config) -> None:
    """Validates relations between the fields of a distillation."""
    for low, high in (("first", "last"), ("t_min", "t_max")):
        if low in options:
            ordered = options[low] <= options[high] if low == "first" else options[low] < options[high]
            require(ordered, f"distillation.{low}", options[low], f"below {high} = {options[high]}")
    if "adversarial" in options:
        adversarial.check(options.adversarial)


def config_of_student(config: Config, method: str, ts: Array) -> Config:
    """The config of the student's run: its own solver and times, and no guidance, which it has learned."""
    config = config.copy_and_resolve_references()
    for section in (config.sampling.solver, config.sampling.grid, config.sampling.guidance_shape):
        for field in section:
            if field != "name":
                section[field] = None
    with config.unlocked():
        config.rules = guidance.RULES.defaults()
    config.sampling.solver.name = "euler" if method == "progressive" else "multistep_consistency"
    if method != "progressive" and ts[-1] > 0:
        config.sampling.solver.t_min = float(ts[-1])
    config.sampling.grid.update(name="times", times=tuple(float(t) for t in np.asarray(ts)))
    config.sampling.guidance_shape.name = "constant"
    config.sampling.update(steps=len(ts) - 1, guidance_scale=1.0, ema=str(config.training.ema_decays[0]))
    config.evaluation.update(guidance_scales=(1.0,), step_counts=())
    config.guidance = ("conditional",)
    return config


def flow_grid(schedule: Schedule, n: int, t_max: ArrayLike = 1.0, t_min: ArrayLike = 0.0) -> Array:
    """``n`` steps from ``t_max`` to ``t_min`` that are equal in ``sigma / (alpha + sigma)``, whatever the schedule."""
    first, last = (flow_maps.clock(schedule, t) for t in (t_max, t_min))
    ts = schedule.time_at(rectified_flow().log_snr(jnp.linspace(first, last, n + 1)))
    return ts.at[0].set(t_max).at[-1].set(t_min)


def configured_grid(config: Config, schedule: Schedule, n: int) -> Array:
    """The grid of the config for another number of steps."""
    name, allowed = config.sampling.grid.name, "the name of a grid of any number of steps, say recommended"
    require(not has_listed_times(config), "sampling.grid.name", name, allowed)
    return GRIDS.build(config, "sampling.grid", schedule=schedule, n=n, stochastic=False)


def _inputs(model: Model, dataset: Dataset, batch) -> dict[str, Any]:
    batch = preprocess(dataset, batch)
    return {"x": batch["x"], "conditions": conditions(model, batch)}


def _copy(params: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)  # the training step takes its buffers


def progressive(model: Model, dataset: Dataset, start: PyTree, teacher: Teacher, ts: Array) -> TrainingTask:
    """Progressive distillation: two steps of the teacher, whose times are ``ts``, in one."""

    def prepare(key, batch):
        for_steps, for_noise = jax.random.split(key)
        inputs = _inputs(model, dataset, batch)
        steps = flow_maps.student_steps(for_steps, inputs["x"].shape[0], ts)
        return {**inputs, "eps": jax.random.normal(for_noise, inputs["x"].shape), "steps": steps}

    def loss(params, batch):
        given = batch["conditions"]
        value, aux = flow_maps.progressive_loss(
            model.network(params, given),
            teacher(given),
            model.schedule,
            batch["x"],
            batch["eps"],
            batch["steps"],
            target=model.target,
            weighting=weightings.v,
        )
        return value, {"log_snr": aux.log_snr, "eps_mse": aux.eps_mse}

    return TrainingTask(_copy(start), prepare, loss, lambda params: params)


def consistency(
    model: Model, dataset: Dataset, start: PyTree, teacher: Teacher, ts: Array, hyper: Config
) -> TrainingTask:
    """Consistency distillation: the end of the teacher's path from any point; ``ts`` divide the path."""
    target, end = model.target, float(model.schedule.sigma(ts[-1]))
    allowed = "above 0 (say 0.001): its target is undefined without noise"
    require(not isinstance(target, X0 | Score) or end != 0, "sampling.grid.t_min", float(ts[-1]), allowed)

    def prepare(key, batch):
        for_times, for_noise = jax.random.split(key)
        inputs = _inputs(model, dataset, batch)
        u = time_samplers.stratified_uniform(for_times, inputs["x"].shape[0])
        pieces = flow_maps.curriculum(batch.get("progress", jnp.ones_like(u)), hyper.first, hyper.last)
        # the start of each piece, so that the first time, pure noise, is among them: one step starts there
        t = jnp.interp(jnp.floor(u * pieces) / pieces, jnp.linspace(0.0, 1.0, len(ts)), ts)
        s = flow_maps.earlier_time(t, ts, pieces)
        return {**inputs, "eps": jax.random.normal(for_noise, inputs["x"].shape), "t": t, "s": s}

    def loss(params, batch):
        given, t, s = batch["conditions"], batch["t"], batch["s"]
        student = model.denoiser(params, given)
        value = flow_maps.consistency_distillation_loss(
            student,
            student,
            teacher(given),
            model.schedule,
            batch["x"],
            batch["eps"],
            t,
            s,
            t_min=ts[-1],
            distance=lambda a, b: flow_maps.pseudo_huber(a, b, hyper.scale),
        )
        return value, {}

    return TrainingTask(_copy(start), prepare, loss, lambda params: params)


def matching(
    model: Model, dataset: Dataset, start: PyTree, teacher: Teacher, ts: Array, hyper: Config, options: Config
) -> TrainingTask:
    """Distribution matching: samples along ``ts`` follow the teacher's score; a second network learns their own.

    With an adversarial term a third network tells them from data (:mod:`~experiments.tasks.flow_maps.adversarial`).
    """
    schedule, n = model.schedule, len(ts) - 1
    sampler = time_samplers.uniform(hyper.t_min, hyper.t_max)
    adversary = adversarial.build(model, start, hyper.adversarial)

    def prepare(key, batch):
        keys = jax.random.split(key, 6)
        inputs = _inputs(model, dataset, batch)
        x, b = inputs["x"], inputs["x"].shape[0]
        return {
            **inputs,
            "noise": jax.random.normal(keys[0], (b, n, *x.shape[1:])),
            "index": jnp.floor(n * time_samplers.stratified_uniform(keys[1], b)).astype(jnp.int32),
            "eps": jax.random.normal(keys[2], x.shape),
            "times": time_samplers.draw(keys[3], b, sampler, schedule),
            "eps_fake": jax.random.normal(keys[4], x.shape),
            "times_fake": time_samplers.draw(keys[5], b, time_samplers.uniform(), schedule),
            **({} if adversary is None else adversary.prepare(jax.random.fold_in(key, len(keys)), x)),
        }

    def generated(params, batch):
        """The student's sample at one of its steps, from its own earlier steps, which get no gradient."""
        student = model.denoiser(params, batch["conditions"])
        noise, x, states = batch["noise"], None, []
        for k in range(n):
            x_t = schedule.sigma(ts[k]) * noise[:, k]
            x_t = x_t if x is None else x_t + schedule.alpha(ts[k]) * x
            states.append(x_t)
            x = jax.lax.stop_gradient(student(x_t, ts[k]).x0) if k < n - 1 else None
        rows = jnp.arange(noise.shape[0])
        return student(jnp.stack(states)[batch["index"], rows], ts[batch["index"]]).x0

    def loss(params, batch):
        given = batch["conditions"]
        x = generated(params["student"], batch)
        fake = model.denoiser(params["fake"], given)
        at, teach = Times(*batch["times"]), teacher(given)
        matched = lambda x: flow_maps.matching_loss(x, fake, teach, schedule, batch["eps"], at) / event_size(x)
        followed, _ = flow_maps.fake_score_loss(
            model.network(params["fake"], given),
            x,
            schedule,
            batch["eps_fake"],
            Times(*batch["times_fake"]),
            target=model.target,
            weighting=weightings.v,
        )
        if adversary is None:
            return matched(x) + followed, {}
        discriminated, metrics = adversary.discriminator(params, batch, x)
        return adversary.generator(params, batch, x, matched) + followed + discriminated, metrics

    params = {"student": _copy(start), "fake": _copy(start)}
    rates = {"student": options.learning_rate * hyper.student_rate, "fake": options.learning_rate}
    optimizers: dict[Any, Any] = {name: build_optimizer(options, rate, model.module) for name, rate in rates.items()}
    if adversary is not None:
        params["discriminator"] = adversary.init(jax.random.key(0))
        optimizers["discriminator"] = build_optimizer(options, options.learning_rate * hyper.adversarial.rate)
    optimizer = optax.multi_transform(optimizers, {name: name for name in params})
    some = {name: value[:256] for name, value in dataset.test.items()}
    fixed = jax.jit(prepare)(jax.random.key(0), some)

    @jax.jit
    def distance(params, fixed):
        last = {**fixed, "index": jnp.full_like(fixed["index"], n - 1)}
        flat = lambda x: x.reshape(x.shape[0], -1)
        return energy_distance(flat(fixed["x"]), flat(generated(params["student"], last)))

    return TrainingTask(params, prepare, loss, lambda p: p["student"], optimizer, lambda p: float(distance(p, fixed)))

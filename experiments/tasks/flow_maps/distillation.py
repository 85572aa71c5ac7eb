"""What each method of distillation trains: its parameters, the draws of a batch, and its loss."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from experiments.cli.config import Config, require
from experiments.data.dataset import Dataset, preprocess
from experiments.models.conditioning import GUIDANCE, conditions
from experiments.tasks.diffusion.build import build_model, build_rules, build_sampler
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.model import Model
from experiments.tasks.flow_maps.model import Teacher
from experiments.tasks.flow_maps.students import MAP_LOSSES, flow_grid
from experiments.tasks.task import Run
from experiments.training import build_optimizer
from scorekit import flow_maps, weightings
from scorekit import times as time_samplers
from scorekit.metrics import energy_distance
from scorekit.networks import with_new_parameters
from scorekit.predictions import X0, Score
from scorekit.times import Times
from scorekit.trees import event_size
from scorekit.typing import Array, PyTree


class TrainingTask(NamedTuple):
    """Arguments of :class:`experiments.training.loop.Trainable` for a student.

    ``init`` makes the first parameters, in buffers of their own; ``student`` picks those of the student out.
    """

    init: Callable[[], PyTree]
    prepare: Callable
    loss: Callable
    student: Callable[[PyTree], PyTree] = lambda params: params
    optimizer: Any = None
    held_out: Callable[[PyTree], float] | None = None


def teacher_of(config: Config, run: Run) -> Teacher:
    """The guided model, with γ from the conditions, or else from the config."""
    scale = build_rules(config).traced(config.sampling.guidance_scale)
    guided = make_guided(build_rules(config), run.model)

    def teacher(given):
        others = {name: value for name, value in given.items() if name != GUIDANCE}
        return guided(run.params, others, given.get(GUIDANCE, scale), run.extras)

    return teacher


def training_task(own: Config, config: Config, options: Config, run: Run) -> tuple[Model, TrainingTask]:
    """The network that is trained by any method but the progressive one, and its training task.

    Args:
      own: config of the student, of :func:`experiments.tasks.flow_maps.students.config_of_student`.
      config: config of the teacher.
      options: the section ``distillation``.
      run: run of the teacher.
    """
    teacher, model, dataset = teacher_of(config, run), run.model, run.dataset
    if options.method in MAP_LOSSES:
        return flow_map(own, run, teacher)
    if options.method == "consistency":
        ends = build_sampler(config, model.schedule)[1]
        path = flow_grid(model.schedule, options.last, ends[0], ends[-1])
        return model, consistency(model, dataset, run.params, teacher, path, options.first, options.scale)
    ts = jnp.asarray(own.sampling.grid.times)
    return model, matching(model, dataset, run.params, teacher, ts, options, config.training)


def _inputs(model: Model, dataset: Dataset, batch) -> dict[str, Any]:
    batch = preprocess(dataset, batch)
    return {"x": batch["x"], "conditions": conditions(model, batch)}


def _copy(params: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)  # the training step takes its buffers


def flow_map(own: Config, run: Run, teacher: Teacher | None) -> tuple[Model, TrainingTask]:
    """The flow map that a config describes: the network of the teacher, which gains the length of the jump."""
    model = build_model(own, run.dataset)
    init = lambda: _copy(with_new_parameters(run.params, model.init(jax.random.key(own.seed))))
    objective = cast(Any, model.objective)._replace(teacher=teacher)
    fixed = replace(model, schedule=run.model.schedule, objective=objective)
    return fixed, TrainingTask(init, make_prepare(fixed, run.dataset), make_loss(fixed))


def progressive(model: Model, dataset: Dataset, start: PyTree, teacher: Teacher, ts: Array) -> TrainingTask:
    """Progressive distillation: two steps of the teacher, whose times are ``ts``, in one."""

    def prepare(key, batch):
        for_steps, for_noise = jax.random.split(key)
        inputs = _inputs(model, dataset, batch)
        steps = flow_maps.student_steps(for_steps, ts, inputs["x"].shape[0])
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
        return value, {"log_snr": aux.log_snr, "error": aux.eps_mse}

    return TrainingTask(lambda: _copy(start), prepare, loss)


def consistency(
    model: Model, dataset: Dataset, start: PyTree, teacher: Teacher, ts: Array, first: int, scale: float
) -> TrainingTask:
    """Consistency distillation: the end of the teacher's path from any point.

    ``ts`` divide the path into the pieces of the end of training, of which there are ``first`` at its beginning;
    ``scale`` is that of the pseudo-Huber distance.
    """
    target, end = model.target, float(model.schedule.sigma(ts[-1]))
    allowed = "above 0 (say 0.001): its target is undefined without noise"
    require(not isinstance(target, X0 | Score) or end != 0, "sampling.grid.t_min", float(ts[-1]), allowed)

    def prepare(key, batch):
        for_times, for_noise = jax.random.split(key)
        inputs = _inputs(model, dataset, batch)
        u = time_samplers.stratified_uniform(for_times, inputs["x"].shape[0])
        pieces = flow_maps.curriculum(batch.get("progress", jnp.ones_like(u)), first, len(ts) - 1)
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
            distance=lambda a, b: flow_maps.pseudo_huber(a, b, scale),
        )
        return value, {}

    return TrainingTask(lambda: _copy(start), prepare, loss)


def matching(
    model: Model, dataset: Dataset, start: PyTree, teacher: Teacher, ts: Array, options: Config, training: Config
) -> TrainingTask:
    """Distribution matching: samples along ``ts`` follow the teacher's score; a second network learns their own.

    ``options`` is the section ``distillation``, ``training`` that of the optimisers of both networks.
    """
    schedule, n = model.schedule, len(ts) - 1
    sampler = time_samplers.Uniform(t_min=options.t_min, t_max=options.t_max)

    def prepare(key, batch):
        keys = jax.random.split(key, 6)
        inputs = _inputs(model, dataset, batch)
        x, b = inputs["x"], inputs["x"].shape[0]
        return {
            **inputs,
            "noise": jax.random.normal(keys[0], (b, n, *x.shape[1:])),
            "index": jnp.floor(n * time_samplers.stratified_uniform(keys[1], b)).astype(jnp.int32),
            "eps": jax.random.normal(keys[2], x.shape),
            "times": time_samplers.draw(keys[3], sampler, schedule, b),
            "eps_fake": jax.random.normal(keys[4], x.shape),
            "times_fake": time_samplers.draw(keys[5], time_samplers.Uniform(), schedule, b),
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
        fake, at = model.denoiser(params["fake"], given), Times(*batch["times"])
        matched = flow_maps.matching_loss(fake, teacher(given), schedule, x, batch["eps"], at) / event_size(x)
        followed, _ = flow_maps.fake_score_loss(
            model.network(params["fake"], given),
            schedule,
            x,
            batch["eps_fake"],
            Times(*batch["times_fake"]),
            target=model.target,
            weighting=weightings.v,
        )
        return matched + followed, {}

    rates = {"student": training.learning_rate * options.student_rate, "fake": training.learning_rate}
    optimizer = optax.multi_transform(
        {name: build_optimizer(training, rate, model.module) for name, rate in rates.items()},
        {name: name for name in rates},
    )

    @functools.cache
    def held_out():
        some = {name: value[:256] for name, value in dataset.test.items()}
        return jax.jit(prepare)(jax.random.key(0), some)

    @jax.jit
    def distance(params, batch):
        last = {**batch, "index": jnp.full_like(batch["index"], n - 1)}
        flat = lambda x: x.reshape(x.shape[0], -1)
        return energy_distance(flat(batch["x"]), flat(generated(params["student"], last)))

    init = lambda: {name: _copy(start) for name in rates}
    of_student = lambda params: params["student"]
    return TrainingTask(init, prepare, loss, of_student, optimizer, lambda p: float(distance(p, held_out())))

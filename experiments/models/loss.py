"""The loss of a model as the training step takes it: a prepared batch, and the loss of each example."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.data.dataset import Dataset, preprocess, rows_of
from experiments.models.conditioning import conditions, null_conditions
from experiments.models.devices import collect, everywhere, spread
from experiments.models.model import (
    GUIDANCE,
    Model,
    at_params,
    divergence_head,
    flow_map,
    likelihood_ends,
    log_variance,
    network,
)
from scorekit import flow_maps, forcing, likelihood, losses, weightings
from scorekit import times as time_samplers
from scorekit.networks import drop_conditions
from scorekit.predictions import bounded_log_snr
from scorekit.schedules import time_derivative
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, Denoiser, Key, Prediction, PyTree, Schedule


def make_prepare(
    model: Model,
    dataset: Dataset,
    rates: Mapping[str, float] | None = None,
    joint_rate: float = 0.0,
    caption_rate: float = 0.0,
):
    """``(key, batch) -> batch``: all randomness of a training step, at the global batch.

    Args:
      rates: the probability of dropping each condition, for training; by default none are dropped, and the dropout of
        the network is off.
      joint_rate: the probability of dropping all of them together.
      caption_rate: the probability of dropping all but the dense map together.
    """
    dropout = rates is not None and getattr(model.module, "dropout", 0.0) > 0
    rates = rates or dict.fromkeys(null_conditions(model), 0.0)

    def prepare(key, batch):
        for_dropout, for_times, for_noise = jax.random.split(key, 3)
        batch = {"progress": 1.0, **preprocess(dataset, batch)}
        x = batch["x"]
        sampler = time_samplers.at_progress(model.times, batch["progress"])
        if model.frame_levels:
            drawn = forcing.draw_times(for_times, x.shape[0], x.shape[1], sampler, model.schedule)
        else:
            drawn = time_samplers.draw(for_times, x.shape[0], sampler, model.schedule)
        for_level, for_map = jax.random.split(jax.random.fold_in(key, 3))
        level = (model.map_noise or 0.0) * jax.random.uniform(for_level, x.shape[:1])
        given = conditions(model, batch, for_map, level)
        eps = jax.random.normal(for_noise, x.shape, x.dtype)
        if model.coupling is not None:
            eps = model.coupling.noise(model.schedule, x, eps, drawn.t, given)
        further: dict[str, Any] = (
            {"dropout": jax.random.bits(jax.random.fold_in(key, 4), x.shape[:1], "uint32")} if dropout else {}
        )
        if model.flow_map is not None:
            times = model.flow_map.draw(for_times, x.shape[0], sampler, model.schedule)
            further |= {"times": times, "progress": jnp.full(x.shape[0], batch["progress"])}
            if model.divergence is not None:
                further |= _of_divergence(jax.random.fold_in(key, 7), model, times, x)
        nulls = null_conditions(model)
        given = drop_conditions(for_dropout, given, nulls, rates, joint_rate)
        if caption_rate > 0:
            words = [name for name in given if name != "dense_map"]
            pick = lambda named: {name: named[name] for name in words}
            none = dict.fromkeys(words, 0.0)
            given |= drop_conditions(jax.random.fold_in(key, 5), pick(given), pick(nulls), none, caption_rate)
        if model.guidance_max is not None:
            scale = jax.random.uniform(jax.random.fold_in(key, 6), x.shape[:1], maxval=model.guidance_max - 1.0)
            given[GUIDANCE] = jnp.where(given["labels"] == model.num_classes, 1.0, 1.0 + scale)
        if model.flow_map is not None and model.flow_map.of_batch:
            labels = jnp.where(given["labels"] == model.num_classes, -1, given["labels"])
            further["drift_weights"] = flow_maps.drift_weights(labels, batch["label"], given.get(GUIDANCE, 1.0))
        if model.critic is not None:
            further["place"] = model.critic.draw(jax.random.fold_in(key, 8), x.shape[0])
        return {
            **further,
            "x": x,
            "conditions": given,
            "eps": eps,
            "t": drawn.t,
            "weight": drawn.weight,
        }

    return prepare


def make_loss(model: Model, teacher: Callable[[Mapping[str, Any]], Denoiser] | None = None):
    """``(params, prepared batch) -> (loss of each example, auxiliary values of each example)``.

    ``teacher`` takes conditions to the denoiser whose flow map is learned; None learns the flow map of the data.
    """
    if model.learns_schedule:
        return _bound_loss(model)

    def of_map(objective, params, batch):
        times, found = batch["times"], flow_map(model, params, batch["conditions"], batch.get("dropout"))
        x, eps = batch["x"], batch["eps"]
        source: dict[str, Any]
        if "drift_weights" in batch:
            source = {"weights": batch["drift_weights"]}
        elif model.critic is not None:
            source = {"critic": functools.partial(model.critic.logits, params, batch["conditions"], batch["place"])}
        elif teacher is not None:
            source = {"teacher": teacher(batch["conditions"])}
        else:
            source = {} if model.guidance_max is None else {"velocity": guided_velocity(model, params, batch)}
        value = objective(found, model.schedule, x, eps, times, batch["progress"], **source) * times["weight"]
        if model.divergence is not None:
            head = divergence_head(model, params, batch["conditions"], batch.get("dropout"))
            value += model.divergence * flow_maps.divergence_loss(
                head,
                found,
                model.schedule,
                x,
                eps,
                times["t"],
                times["s"],
                fraction=batch["fraction"],
                probe=batch["probe"],
                velocity=source.get("teacher"),
            )
        log_snr = bounded_log_snr(times["t"], model.schedule)
        if model.log_variance is not None:
            value = losses.uncertainty_weighted(value, log_variance(model, params, log_snr))
        return value, {"log_snr": log_snr, "eps_mse": value}

    denoising_loss_at = forcing.denoising_loss_at if model.frame_levels else losses.denoising_loss_at

    def loss(params, batch):
        value, aux = denoising_loss_at(
            network(model, params, batch["conditions"], batch.get("dropout")),
            model.schedule,
            batch["x"],
            batch["eps"],
            time_samplers.Times(batch["t"], batch["weight"]),
            target=model.target,
            weighting=model.weighting,
        )
        if model.log_variance is not None:
            value = losses.uncertainty_weighted(value, log_variance(model, params, aux.log_snr))
        return value, {"log_snr": aux.log_snr, "eps_mse": aux.eps_mse}

    return loss if model.flow_map is None else functools.partial(of_map, model.flow_map.loss)


def _of_divergence(key: Key, model: Model, times: dict[str, Array], x: Array) -> dict[str, Any]:
    """The draws of a divergence head, and times of which half of the jumps lead to noise.

    Half of these start where every likelihood does, within a factor of 2 of the noise of the data.
    """
    for_place, for_start, for_probe, for_way = jax.random.split(key, 4)
    schedule, (n, *_) = model.schedule, x.shape
    t, s, way = times["t"], times["s"], jax.random.uniform(for_way, (n,))
    first = schedule.log_snr(likelihood_ends(model)[0]) - 2.0 * math.log(2.0) * jax.random.uniform(for_start, (n,))
    start = jnp.where((way < 0.25) & (s < t), jnp.minimum(schedule.time_at(first), t), s)
    found = {"t": jnp.where(way < 0.5, start, t), "s": jnp.where(way < 0.5, t, s)}
    if "middle" in times:
        low, high = jnp.minimum(t, start), jnp.maximum(t, start)  # where they are equal, rounding may exchange them
        found["middle"] = jnp.clip(flow_maps.middle_time(high, low, schedule), low, high)
    return {
        "times": times | found,
        "fraction": jax.random.uniform(for_place, (n,)),
        "probe": jax.random.rademacher(for_probe, x.shape, x.dtype),
    }


def guided_velocity(model: Model, params: PyTree, batch: Mapping[str, Any]) -> Denoiser:
    """``gamma v + (1 - gamma) v_u`` of the noised examples of a batch, with their γ and the map without conditions."""
    absent = flow_map(model, params, null_conditions(model), batch.get("dropout"))
    example, scale = Prediction(batch["x"], batch["eps"]), batch["conditions"][GUIDANCE]
    return flow_maps.guided_velocity(example, absent, absent, scale)


def _bound_loss(model: Model):
    """The variational bound of each example in nats per dimension, which trains the schedule too."""

    def diffusion(params, schedule, batch):
        # with -1/2 dlog_snr/dt, the squared error of eps at uniform times is the bound
        weight = -0.5 * batch["weight"] * time_derivative(schedule.log_snr, batch["t"])
        value, aux = losses.denoising_loss_at(
            network(model._replace(schedule=schedule), params, batch["conditions"], batch.get("dropout")),
            schedule,
            batch["x"],
            batch["eps"],
            time_samplers.Times(batch["t"], weight),
            target=model.target,
            weighting=weightings.eps,
        )
        return value, {"log_snr": aux.log_snr, "eps_mse": aux.eps_mse}

    diffusion = _with_variance_gradient(diffusion)

    def loss(params, batch):
        schedule = at_params(model, params).schedule
        value, aux = diffusion(params, schedule, batch)
        ends = likelihood.boundary_terms(schedule, batch["x"], batch["eps"], bins=model.bins)
        return value + sum(ends) / math.prod(model.shape), aux

    return loss


@pytree_dataclass
class _OfExamples:
    """A schedule for each example: leaves of ``each`` are ``(B, ...)``, all times ``(B,)``."""

    each: Schedule

    def alpha(self, t):
        return jax.vmap(lambda schedule, t: schedule.alpha(t))(self.each, t)

    def sigma(self, t):
        return jax.vmap(lambda schedule, t: schedule.sigma(t))(self.each, t)

    def log_snr(self, t):
        return jax.vmap(lambda schedule, t: schedule.log_snr(t))(self.each, t)

    def time_at(self, log_snr):
        return jax.vmap(lambda schedule, value: schedule.time_at(value))(self.each, log_snr)


def _with_variance_gradient(diffusion):
    """``(params, schedule, batch) -> (diffusion loss (B,), aux)`` whose interior is trained for a small variance.

    In the gradient with respect to the parameters and the ends of the schedule this is ``diffusion``. With respect to
    the interior, between the ends, it is the gradient of the squared losses, ``2 L_i dL_i`` for each example, which is
    the gradient of their variance: their mean does not depend on the interior. One backward pass gives both, as it
    gives the gradient with respect to the schedule of each example. ``diffusion`` has the same signature; the batch
    gets no gradient.
    """

    @jax.custom_vjp
    def of_examples(params, schedules, batch):
        return diffusion(params, schedules, batch)

    def forward(params, schedules, batch):
        value, pullback, aux = jax.vjp(lambda *args: diffusion(*args, batch), params, schedules, has_aux=True)
        return (value, aux), (value, pullback)

    def backward(residuals, cotangents):
        value, pullback = residuals
        for_params, for_schedules = pullback(cotangents[0])
        each = for_schedules.each
        squared = {name: jax.vmap(jnp.multiply)(2.0 * value, getattr(each, name)) for name in ("heights", "slopes")}
        return for_params, _OfExamples(each=dataclasses.replace(each, **squared)), None

    of_examples.defvjp(forward, backward)

    def loss(params, schedule, batch):
        repeat = lambda leaf: jnp.broadcast_to(leaf, (*batch["t"].shape, *jnp.shape(leaf)))
        return of_examples(params, _OfExamples(each=jax.tree.map(repeat, schedule)), batch)

    return loss


def held_out_loss(prepare, loss, dataset: Dataset, limit: int | None = None):
    """``params -> loss`` on up to ``limit`` (``dataset.max_held_out`` by default) test examples, always with the same
    noise and times; ``prepare`` and ``loss`` are the functions of training."""
    few = rows_of(dataset.test, slice(dataset.max_held_out if limit is None else limit))
    prepared = jax.jit(prepare)(jax.random.key(0), few)
    # prepared is an argument: as a constant XLA would compute with it
    run = jax.jit(lambda params, prepared: collect(loss(params, spread(prepared))[0]).mean())
    return lambda params: float(run(everywhere(params), prepared))

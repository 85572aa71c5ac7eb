"""The loss of a model as the training step takes it: a prepared batch, and the loss of each example."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.data.dataset import Dataset, preprocess, rows_of
from experiments.models.conditioning import conditions, null_conditions
from experiments.models.devices import collect, everywhere, spread
from experiments.models.learned_schedule import rate_weight, with_variance_gradient
from experiments.models.model import GUIDANCE, Model, at_params, flow_map, log_variance, network
from scorekit import flow_maps, forcing, likelihood, losses, weightings
from scorekit import times as time_samplers
from scorekit.networks import drop_conditions
from scorekit.predictions import bounded_log_snr
from scorekit.typing import Denoiser, Prediction, PyTree


def make_prepare(
    model: Model,
    dataset: Dataset,
    rates: Mapping[str, float] | None = None,
    joint_rate: float = 0.0,
    caption_rate: float = 0.0,
):
    """``(key, batch) -> batch``: all randomness of a training step, at the global batch.

    Args:
      model: the model.
      dataset: its data.
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

    Args:
      model: the model.
      teacher: conditions to the denoiser whose flow map is learned; None learns that of the data.
    """
    if model.learns_schedule:
        return _bound_loss(model)

    def of_map(objective, params, batch):
        times, found = batch["times"], flow_map(model, params, batch["conditions"], batch.get("dropout"))
        x, eps = batch["x"], batch["eps"]
        if teacher is not None:
            source = {"teacher": teacher(batch["conditions"])}
        else:
            source = {} if model.guidance_max is None else {"velocity": guided_velocity(model, params, batch)}
        value = objective(found, model.schedule, x, eps, times, batch["progress"], **source) * times["weight"]
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


def guided_velocity(model: Model, params: PyTree, batch: Mapping[str, Any]) -> Denoiser:
    """``gamma v + (1 - gamma) v_u`` of the noised examples of a batch, with their γ and the map without conditions."""
    absent = flow_map(model, params, null_conditions(model), batch.get("dropout"))
    example, scale = Prediction(batch["x"], batch["eps"]), batch["conditions"][GUIDANCE]
    return flow_maps.guided_velocity(example, absent, absent, scale)


def _bound_loss(model: Model):
    """The variational bound of each example in nats per dimension, which trains the schedule too."""

    def diffusion(params, schedule, batch):
        value, aux = losses.denoising_loss_at(
            network(model._replace(schedule=schedule), params, batch["conditions"], batch.get("dropout")),
            schedule,
            batch["x"],
            batch["eps"],
            time_samplers.Times(batch["t"], batch["weight"] * rate_weight(schedule, batch["t"])),
            target=model.target,
            weighting=weightings.eps,
        )
        return value, {"log_snr": aux.log_snr, "eps_mse": aux.eps_mse}

    diffusion = with_variance_gradient(diffusion)

    def loss(params, batch):
        schedule = at_params(model, params).schedule
        value, aux = diffusion(params, schedule, batch)
        ends = likelihood.boundary_terms(schedule, batch["x"], batch["eps"], bins=model.bins)
        return value + sum(ends) / math.prod(model.shape), aux

    return loss


def held_out_loss(prepare, loss, dataset: Dataset, limit: int | None = None):
    """``params -> loss`` on up to ``limit`` test examples, always with the same noise and times.

    Args:
      prepare: ``(key, batch) -> batch``.
      loss: ``(params, prepared batch) -> (loss of each example, aux)``.
      dataset: its data.
      limit: of examples; ``dataset.max_held_out`` by default.
    """
    few = rows_of(dataset.test, slice(dataset.max_held_out if limit is None else limit))
    prepared = jax.jit(prepare)(jax.random.key(0), few)
    # prepared is an argument: as a constant XLA would compute with it
    run = jax.jit(lambda params, prepared: collect(loss(params, spread(prepared))[0]).mean())
    return lambda params: float(run(everywhere(params), prepared))

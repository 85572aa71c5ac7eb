"""The network, its loss and its samplers, put together from a config; everything here is a pure function underneath."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments import build
from experiments.config import Config
from experiments.datasets import Dataset
from scorekit import denoisers, guidance, losses, process, solvers
from scorekit import times as time_samplers
from scorekit.networks import drop_labels
from scorekit.predictions import Target
from scorekit.times import TimeSampler
from scorekit.typing import Array, Denoiser, Key, Network, Prediction, PyTree, Schedule, Weighting


class Model(NamedTuple):
    """What a config means, ready to use."""

    module: nn.Module
    schedule: Schedule
    target: Target
    weighting: Weighting
    times: TimeSampler
    num_classes: int
    shape: tuple[int, ...]


def build_model(config: Config, dataset: Dataset) -> Model:
    """Puts the pieces of the config together."""
    schedule = build.build_schedule(config)
    return Model(
        module=build.build_network(config, dataset.num_classes),
        schedule=schedule,
        target=build.build_target(config),
        weighting=build.build_weighting(config, schedule),
        times=build.build_times(config),
        num_classes=dataset.num_classes,
        shape=dataset.shape,
    )


def init_params(model: Model, key: Key) -> PyTree:
    """The parameters before training."""
    x = jnp.zeros((1, *model.shape))
    return jax.jit(model.module.init)(key, x, jnp.zeros(1), jnp.zeros(1, jnp.int32))


def network(model: Model, params: PyTree, labels: Array) -> Network:
    """``(x_t, t) -> output`` of the network at these parameters and labels; it is told the log-SNR, not t."""
    bound = Partial(model.module.apply, params, labels=labels)
    return denoisers.condition_on_log_snr(bound, model.schedule)


def denoiser(model: Model, params: PyTree, labels: Array) -> Denoiser:
    """The conditional denoiser; label ``num_classes`` is the null token."""
    return denoisers.denoiser_from_network(network(model, params, labels), model.schedule, model.target)


def make_prepare(model: Model, dataset: Dataset, label_dropout: float):
    """``(key, batch) -> batch``: all the randomness of a training step, at the global batch."""

    def prepare(key, batch):
        for_labels, for_times, for_noise = jax.random.split(key, 3)
        x = dataset.to_model(batch["x"])
        sampler = time_samplers.at_progress(model.times, batch.get("progress", 1.0))
        drawn = time_samplers.draw(for_times, x.shape[0], sampler, model.schedule)
        return {
            "x": x,
            "label": drop_labels(for_labels, batch["label"], label_dropout, model.num_classes),
            "eps": jax.random.normal(for_noise, x.shape, x.dtype),
            "t": drawn.t,
            "weight": drawn.weight,
        }

    return prepare


def make_loss(model: Model):
    """``(params, prepared batch) -> (per-example loss, per-example aux)``."""

    def loss(params, batch):
        value, aux = losses.denoising_loss_at(
            network(model, params, batch["label"]),
            model.schedule,
            batch["x"],
            batch["eps"],
            time_samplers.Times(batch["t"], batch["weight"]),
            target=model.target,
            weighting=model.weighting,
        )
        return value, {"log_snr": aux.log_snr, "eps_mse": aux.eps_mse}

    return loss


def make_guided(config: Config, model: Model):
    """``(params, labels, guidance_scale) -> Denoiser``, behind guidance and thresholding; a scale of None is 1."""
    options = config.sampling

    def conditional(params, x_t, t, labels) -> Prediction:
        return denoiser(model, params, labels)(x_t, t)

    def guided(params, labels, scale) -> Denoiser:
        plain = denoiser(model, params, labels)
        result = plain
        if scale is not None:
            null = jnp.int32(model.num_classes)
            result = guidance.classifier_free_batched(Partial(conditional, params), labels, null, scale)
            low, high = options.guidance_noise_min, options.guidance_noise_max
            if (low, high) != (0.0, float("inf")):
                result = guidance.interval(result, plain, model.schedule, low, high)
        return build.apply_threshold(config, result, model.schedule)

    return guided


def make_sampler(config: Config, model: Model, dataset: Dataset):
    """``generate(params, seed, labels, guidance_scale) -> samples`` as numpy, in batches of one compiled size."""
    solver, ts = build.build_sampler(config, model.schedule)
    options, guided = config.sampling, make_guided(config, model)

    @functools.partial(jax.jit, static_argnames="trajectory")
    def run(params, key, labels, scale, ts, trajectory=False):
        for_prior, for_steps = jax.random.split(key)
        like = jax.ShapeDtypeStruct((labels.shape[0], *model.shape), jnp.float32)
        x = process.sample_prior(for_prior, model.schedule, like, ts[0])
        out = solvers.sample(
            for_steps if solver.stochastic else None,
            guided(params, labels, scale),
            model.schedule,
            solver,
            x,
            ts,
            trajectory=trajectory,
        )
        if not trajectory:
            return dataset.from_model(out)
        states = jnp.concatenate([x[None], out[1]])
        return states, model.schedule.log_snr(ts)

    def generate(params, seed: int, labels, guidance_scale: float, *, trajectory: bool = False):
        labels = np.asarray(labels, np.int32)
        scale = None if guidance_scale == 1 else jnp.float32(guidance_scale)
        key = jax.random.key(seed)
        if trajectory:
            return jax.tree.map(np.asarray, run(params, key, labels, scale, ts, trajectory=True))
        size = min(options.batch_size, len(labels))
        parts = []
        for i, start in enumerate(range(0, len(labels), size)):
            part = labels[start : start + size]
            padded = np.pad(part, (0, size - len(part)))
            samples = run(params, jax.random.fold_in(key, i), padded, scale, ts)
            parts.append(np.asarray(samples)[: len(part)])
        return np.concatenate(parts)

    return generate

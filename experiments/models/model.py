"""The network, its loss and its samplers, put together from a config; everything here is a pure function underneath."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments.models import choices as build, rules
from experiments.data import conditions as conditioning
from experiments.cli.config import Config
from experiments.data.dataset import Dataset, as_seen, held_out_of
from scorekit import denoisers, guidance, losses, process, samplers
from scorekit import times as time_samplers
from scorekit.networks import ABSENT, Masked, drop_conditions, noise_augmented
from scorekit.predictions import Target
from scorekit.times import TimeSampler
from scorekit.typing import Array, Denoiser, Key, Network, Prediction, PyTree, Schedule, Weighting


class Model(NamedTuple):
    """What a config means, ready to use; ``extracts`` gives the conditions beside the class."""

    module: nn.Module
    schedule: Schedule
    target: Target
    weighting: Weighting
    times: TimeSampler
    num_classes: int
    shape: tuple[int, ...]
    extracts: Mapping[str, conditioning.Extract]
    map_noise: float | None = None
    """The highest level of noise-conditioning augmentation; None for a network that is not told one."""


class Extras(NamedTuple):
    """What rules are given from other checkpoints: parameters of a weaker model; ``(x_t, t) -> logits``."""

    weak: PyTree = None
    classifier: Callable | None = None


NO_EXTRAS = Extras()


def build_model(config: Config, dataset: Dataset) -> Model:
    """Puts the pieces of the config together."""
    schedule, extracts = build.build_schedule(config), conditioning.build_conditions(config, dataset)
    sizes = conditioning.sizes(extracts, dataset)
    if config.loss.map_noise is not None:
        *places, channels = sizes["map_shape"]
        sizes["map_shape"] = (*places, channels + 1)  # the last tells the level
    return Model(
        module=build.build_network(config, dataset.num_classes, **sizes),
        schedule=schedule,
        target=build.build_target(config),
        weighting=build.build_weighting(config, schedule),
        times=build.build_times(config),
        num_classes=dataset.num_classes,
        shape=dataset.shape,
        extracts=extracts,
        map_noise=config.loss.map_noise,
    )


def init_params(model: Model, key: Key) -> PyTree:
    """The parameters before training."""
    x = jnp.zeros((1, *model.shape))
    return jax.jit(model.module.init)(key, x, jnp.zeros(1), jnp.zeros(1, jnp.int32))


def conditions(model: Model, batch: Mapping[str, Any], key: Key | None = None, level: Any = 0.0) -> dict[str, Any]:
    """What the network is told about clean examples, by its own names for it.

    Args:
      model: the model.
      batch: examples with ``x`` in the form that the network sees; a field ``dense_map`` stands for that of ``x``.
      key: PRNG key of the noise on the map; None for none.
      level: of that noise, scalar or ``(B,)``, for a network that is told it.
    """
    present = jnp.ones(batch["x"].shape[:1], bool)
    read = lambda name, extract: jnp.asarray(batch[name]) if name in batch else extract(batch)
    named = {name: Masked(read(name, extract), present) for name, extract in model.extracts.items()}
    if model.map_noise is not None:
        value = named["dense_map"].value
        eps = 0.0 if key is None else jax.random.normal(key, value.shape, value.dtype)
        named["dense_map"] = noise_augmented(named["dense_map"], 0.0 if key is None else level, eps)
    return {"labels": jnp.asarray(batch["label"]), **named}


def nulls(model: Model) -> dict[str, Any]:
    """What stands for the absence of each condition."""
    return {"labels": jnp.int32(model.num_classes), **dict.fromkeys(model.extracts, ABSENT)}


def asked_of(model: Model, dataset: Dataset, labels) -> dict[str, np.ndarray]:
    """What is asked for beside the class, as it is: the vector and map of held-out examples of these classes."""
    if not model.extracts:
        return {}
    seen = as_seen(dataset, held_out_of(dataset, np.asarray(labels, np.int32)))
    return {name: np.asarray(extract(seen)) for name, extract in model.extracts.items()}


def conditions_for(
    model: Model, dataset: Dataset, labels, key: Key | None = None, level: float = 0.0, dense_map: Any = None
) -> dict[str, Any]:
    """Conditions to sample at: the labels, and what else there is of held-out examples of these classes.

    Args:
      model: the model.
      dataset: its data.
      labels: ``(B,)``.
      key: PRNG key of the noise on the map; None for none.
      level: of that noise.
      dense_map: maps ``(B, ...)`` in place of those of held-out examples.
    """
    labels = np.asarray(labels, np.int32)
    if not model.extracts:
        return {"labels": labels}
    seen = as_seen(dataset, held_out_of(dataset, labels))
    if dense_map is not None:
        seen["dense_map"] = dense_map
    return jax.tree.map(np.asarray, conditions(model, seen, key, level))


def network(model: Model, params: PyTree, given: Array | Mapping[str, Any]) -> Network:
    """``(x_t, t) -> output`` of the network at these parameters and conditions (labels, or all of them by name); it is
    told the log-SNR, not t."""
    named = given if isinstance(given, Mapping) else {"labels": given}
    bound = Partial(model.module.apply, params, **named)
    return denoisers.condition_on_log_snr(bound, model.schedule)


def denoiser(model: Model, params: PyTree, given: Array | Mapping[str, Any]) -> Denoiser:
    """The conditional denoiser; label ``num_classes`` is the null token."""
    return denoisers.denoiser_from_network(network(model, params, given), model.schedule, model.target)


def make_prepare(model: Model, dataset: Dataset, rates: Mapping[str, float] | None = None, joint_rate: float = 0.0):
    """``(key, batch) -> batch``: all the randomness of a training step, at the global batch.

    Args:
      model: the model.
      dataset: its data.
      rates: the probability of dropping each condition; none by default.
      joint_rate: that of dropping all of them.
    """
    rates = rates or dict.fromkeys(nulls(model), 0.0)

    def prepare(key, batch):
        for_dropout, for_times, for_noise = jax.random.split(key, 3)
        seen = as_seen(dataset, batch)
        x = seen["x"]
        sampler = time_samplers.at_progress(model.times, batch.get("progress", 1.0))
        drawn = time_samplers.draw(for_times, x.shape[0], sampler, model.schedule)
        for_level, for_map = jax.random.split(jax.random.fold_in(key, 3))
        level = (model.map_noise or 0.0) * jax.random.uniform(for_level, x.shape[:1])
        given = conditions(model, seen, for_map, level)
        return {
            "x": x,
            "conditions": drop_conditions(for_dropout, given, nulls(model), rates, joint_rate),
            "eps": jax.random.normal(for_noise, x.shape, x.dtype),
            "t": drawn.t,
            "weight": drawn.weight,
        }

    return prepare


def make_loss(model: Model):
    """``(params, prepared batch) -> (per-example loss, per-example aux)``."""

    def loss(params, batch):
        value, aux = losses.denoising_loss_at(
            network(model, params, batch["conditions"]),
            model.schedule,
            batch["x"],
            batch["eps"],
            time_samplers.Times(batch["t"], batch["weight"]),
            target=model.target,
            weighting=model.weighting,
        )
        return value, {"log_snr": aux.log_snr, "eps_mse": aux.eps_mse}

    return loss


def _conditional(model: Model, params, x_t, t, given) -> Prediction:
    return denoiser(model, params, given)(x_t, t)


def _log_likelihood(classifier, labels, x_t, t):
    log_p = jax.nn.log_softmax(classifier(x_t, t))
    return jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def make_guided(config: Config, model: Model):
    """``(params, conditions, guidance_scale, extras) -> Denoiser`` behind the rules of ``config.guidance``.

    The conditions are labels, or all of them by name; a scale of None is no guidance.
    """
    further = rules.labels_of(config)
    rules.check_labels(config, model.num_classes)

    def guided(params, given, scale, extras: Extras = NO_EXTRAS) -> Denoiser:
        given = dict(given) if isinstance(given, Mapping) else {"labels": given}
        conditional = Partial(functools.partial(_conditional, model), params)
        others = [{**given, "labels": jnp.full_like(given["labels"], label)} for label in further]
        cond, uncond, *rest = guidance.branches(conditional, given, nulls(model), *others)
        labelled = dict(zip(further, rest, strict=True))
        parts = rules.Parts(model.schedule, cond, uncond, labelled.__getitem__)
        if extras.weak is not None:
            parts = parts._replace(weak=denoiser(model, extras.weak, given))
        if extras.classifier is not None:
            parts = parts._replace(log_likelihood=Partial(_log_likelihood, extras.classifier, given["labels"]))
        return rules.compose(config, parts, scale)

    return guided


def make_sampler(config: Config, model: Model, dataset: Dataset, extras: Extras = NO_EXTRAS):
    """``generate(params, seed, labels, guidance_scale) -> samples`` as numpy, in batches of one compiled size.

    In place of labels it takes all conditions by name, as :func:`conditions` gives them; beside labels the others are
    those of held-out examples of these classes.
    """
    solver, ts = build.build_sampler(config, model.schedule)
    options, guided = config.sampling, make_guided(config, model)

    @functools.partial(jax.jit, static_argnames="trajectory")
    def run(params, key, given, scale, ts, extras, trajectory=False):
        for_prior, for_steps = jax.random.split(key)
        like = jax.ShapeDtypeStruct((given["labels"].shape[0], *model.shape), jnp.float32)
        x = process.sample_prior(for_prior, model.schedule, like, ts[0])
        out = samplers.sample(
            for_steps if solver.stochastic else None,
            guided(params, given, scale, extras),
            model.schedule,
            solver,
            x,
            ts,
            trajectory=trajectory,
        )
        if not trajectory:
            return dataset.from_model(out, given)
        states = jnp.concatenate([x[None], out[1]])
        return states, model.schedule.log_snr(ts)

    def generate(params, seed: int, labels, guidance_scale: float, *, trajectory: bool = False):
        key = jax.random.key(seed)
        noise = options.map_noise or 0.0
        for_map = jax.random.fold_in(key, 2**31 - 1) if noise else None
        named = isinstance(labels, Mapping)
        given = dict(labels) if named else conditions_for(model, dataset, labels, for_map, noise)
        scale = None if rules.is_plain(config, guidance_scale) else jnp.float32(guidance_scale)
        if trajectory:
            return jax.tree.map(np.asarray, run(params, key, given, scale, ts, extras, trajectory=True))
        total = len(given["labels"])
        size = min(options.batch_size, total)
        parts = []
        for i, start in enumerate(range(0, total, size)):
            part = jax.tree.map(lambda leaf, s=start: leaf[s : s + size], given)
            kept = len(part["labels"])
            padded = jax.tree.map(lambda leaf, n=kept: np.pad(leaf, [(0, size - n), *[(0, 0)] * (leaf.ndim - 1)]), part)
            samples = run(params, jax.random.fold_in(key, i), padded, scale, ts, extras)
            parts.append(np.asarray(samples)[:kept])
        return np.concatenate(parts)

    return generate

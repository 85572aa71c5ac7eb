"""The loss of a model as the training step takes it: a prepared batch, and the loss of each example.

The formula is that of the model's objective, in :mod:`experiments.tasks.diffusion.objectives`.
"""

from collections.abc import Mapping

import jax

from experiments.data.dataset import Dataset, preprocess
from experiments.models.conditioning import conditions, null_conditions
from experiments.tasks.diffusion.model import Model, log_variance
from scorekit import losses
from scorekit.networks import drop_conditions


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
        draws = model.objective.draw(for_times, key, model, x, batch["progress"])
        for_level, for_map = jax.random.split(jax.random.fold_in(key, 3))
        level = (model.map_noise or 0.0) * jax.random.uniform(for_level, x.shape[:1])
        given = conditions(model, batch, for_map, level)
        eps = jax.random.normal(for_noise, x.shape, x.dtype)
        if model.coupling is not None:
            eps = model.coupling.noise(model.schedule, x, eps, draws["t"], given)
        if dropout:
            draws["dropout"] = jax.random.bits(jax.random.fold_in(key, 4), x.shape[:1], "uint32")
        nulls = null_conditions(model)
        given = drop_conditions(for_dropout, given, nulls, rates, joint_rate)
        if caption_rate > 0:
            words = [name for name in given if name != "dense_map"]
            pick = lambda named: {name: named[name] for name in words}
            none = dict.fromkeys(words, 0.0)
            given |= drop_conditions(jax.random.fold_in(key, 5), pick(given), pick(nulls), none, caption_rate)
        prepared = {**draws, "x": x, "conditions": given, "eps": eps}
        return model.objective.complete(key, model, prepared, batch)

    return prepare


def make_loss(model: Model):
    """``(params, prepared batch) -> (loss of each example, auxiliary values of each example)``."""

    def loss(params, batch):
        value, aux = model.objective.loss(model, params, batch)
        if model.log_variance is not None:
            value = losses.uncertainty_weighted(value, log_variance(model, params, aux["log_snr"]))
        return value, aux

    return loss

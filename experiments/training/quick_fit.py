"""Training in one go, for comparisons: no metrics, no pictures, nothing to resume."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from experiments.models import choices as build, model
from experiments.cli import progress
from experiments.data.conditions import dropout_rates
from experiments.cli.config import Config
from experiments.data.dataset import Dataset
from scorekit import training
from scorekit.training import TrainState
from scorekit.typing import PyTree


def fit(config: Config, built: model.Model, dataset: Dataset, seeds: Sequence[int], label: str) -> Iterator[TrainState]:
    """Trains the network of a config from each seed, compiling once; yields the states at the end.

    Args:
      config: the whole config; of ``loss`` only the dropout of conditions is read.
      built: the model, with the weighting and times to train with.
      dataset: its data.
      seeds: of the initialisation, the batches and the noise.
      label: what the bar of progress says.
    """
    options = config.training
    optimizer = build.build_optimizer(options)
    prepare = model.make_prepare(built, dataset, dropout_rates(config), config.loss.joint_dropout)
    step = training.make_train_step(prepare, model.make_loss(built), optimizer)
    for seed in seeds:
        key = jax.random.key(seed)
        state = training.init_state(key, model.init_params(built, key), optimizer, options.ema_decays)
        with progress.Progress(options.steps, batch_size=options.batch_size, label=f"{label}, seed {seed}") as bar:
            for i in range(options.steps):
                share = np.full(options.batch_size, i / max(options.steps - 1, 1), np.float32)
                state, metrics = step(state, {**dataset.batch(seed, i, options.batch_size), "progress": share})
                bar.update(i + 1, metrics["loss"])
        training.check_finite(state, options.skip_limit)
        yield state


def averaged(config: Config, state: TrainState) -> PyTree:
    """The parameters that ``config.sampling.ema`` names."""
    return state.params if config.sampling.ema == "none" else state.ema[config.sampling.ema]

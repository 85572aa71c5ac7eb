"""Training in one go, for comparisons: no metrics, no pictures, nothing to resume."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from experiments.cli import progress
from experiments.cli.config import Config
from experiments.data.dataset import Dataset
from experiments.models.conditioning import dropout_rates
from experiments.models.loss import make_loss, make_prepare
from experiments.models.model import Model
from experiments.training import build_optimizer
from experiments.training.skipped import SkippedSteps
from scorekit import training
from scorekit.training import TrainState


def quick_fit(config: Config, model: Model, dataset: Dataset, seeds: Sequence[int], label: str) -> Iterator[TrainState]:
    """Trains the network of a config from each seed, compiling once; yields the final states.

    The model has the weighting and times to train with; of ``config.loss`` only the dropout of conditions is read.
    """
    options = config.training
    optimizer = build_optimizer(options, module=model.module)
    loss = config.loss
    prepare = make_prepare(model, dataset, dropout_rates(config), loss.joint_dropout, loss.caption_dropout or 0.0)
    step = training.make_train_step(prepare, make_loss(model), optimizer)
    for seed in seeds:
        key = jax.random.key(seed)
        state = training.init_state(key, model.init(key), optimizer, options.ema_decays, options.power_ema or ())
        with progress.Progress(options.steps, batch_size=options.batch_size, label=f"{label}, seed {seed}") as bar:
            skipped = SkippedSteps(options.skip_limit)
            for i in range(options.steps):
                share = np.full(options.batch_size, i / max(options.steps - 1, 1), np.float32)
                state, metrics = step(state, {**dataset.batch(seed, i, options.batch_size), "progress": share})
                skipped.add(i + 1, metrics)
                bar.update(i + 1, metrics["loss"])
            skipped.wait()
        yield state

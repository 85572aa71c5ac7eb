"""Training in one go, for comparisons: no run and nothing to resume."""

from collections.abc import Iterator, Sequence

import jax

from experiments.cli import progress
from experiments.cli.config import Config
from experiments.data.dataset import Dataset
from experiments.models.conditioning import dropout_rates
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.model import Model
from experiments.training import build_optimizer
from experiments.training.feeding import feed
from experiments.training.hooks import skip_limit
from scorekit import training
from scorekit.training import TrainState


def quick_fit(config: Config, model: Model, dataset: Dataset, seeds: Sequence[int], label: str) -> Iterator[TrainState]:
    """Trains the network of a config from each seed, compiling once; yields the final states.

    The model has the weighting and times to train with; of ``config.loss`` only the dropout of conditions is read.
    """
    options, loss, mesh = config.training, config.loss, training.make_mesh()
    optimizer = build_optimizer(options, module=model.module)
    prepare = make_prepare(model, dataset, dropout_rates(config), loss.joint_dropout, loss.caption_dropout or 0.0)
    train_step = training.make_train_step(prepare, make_loss(model), optimizer, mesh=mesh)
    size, averages = {"steps": options.steps, "batch_size": options.batch_size}, options.power_ema or ()
    for seed in seeds:
        key = jax.random.key(seed)
        state = training.init_state(key, model.init(key), optimizer, options.ema_decays, averages)
        with (
            progress.Progress(options.steps, batch_size=options.batch_size, label=f"{label}, seed {seed}") as bar,
            feed(dataset, mesh, seed=seed, **size) as batches,
        ):
            for step, batch in enumerate(batches, 1):
                state, metrics = train_step(state, batch)
                bar.update(step, metrics["loss"])
                if step % skip_limit.EVERY == 0 or step == options.steps:
                    skip_limit.check(state, options.skip_limit)
        yield state

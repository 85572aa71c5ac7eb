"""Training the model of a config."""

from collections.abc import Callable
from pathlib import Path

from experiments.cli.config import Config
from experiments.data.dataset import Dataset
from experiments.models.conditioning import dropout_rates
from experiments.models.loss import held_out_loss, make_loss, make_prepare
from experiments.models.model import Model
from experiments.models.starting import initial_params
from experiments.training import build_optimizer, loop
from scorekit.training import TrainState


def fit_model(
    config: Config, workdir: Path, dataset: Dataset, model: Model, draw: Callable | None = None
) -> TrainState:
    """Trains to ``config.training.steps``, from the newest checkpoint if there is one; see :func:`loop.fit`."""
    loss = make_loss(model)
    return loop.fit(
        config,
        workdir,
        dataset,
        params=initial_params(config, model),
        prepare=make_prepare(
            model, dataset, dropout_rates(config), config.loss.joint_dropout, config.loss.caption_dropout or 0.0
        ),
        loss=loss,
        ema=config.sampling.ema,
        held_out=held_out_loss(make_prepare(model, dataset), loss, dataset),
        draw=draw,
        optimizer=build_optimizer(config.training, module=model.module),
        gathers=getattr(model.module, "gathers", ()),
    )

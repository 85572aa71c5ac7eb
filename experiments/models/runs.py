"""Opening a finished or running experiment from its folder."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from experiments.models import choices as build, classifier, model
from experiments.evaluation.run_metrics import run_metrics as evaluation
from experiments.cli.config import Config, ConfigError, check_config, filled, load_resolved
from experiments.configs import base
from experiments.data.dataset import Dataset, load_dataset
from experiments.models.model import NO_EXTRAS, Extras
from scorekit import training
from scorekit.typing import PyTree


class Experiment(NamedTuple):
    """A trained model with its data and sampler, the step of its checkpoint, and what rules read elsewhere."""

    dataset: Dataset
    model: model.Model
    generate: evaluation.Generate
    params: PyTree
    step: int
    extras: Extras


def config_path(workdir: str | None) -> str:
    """The config that the run in ``workdir`` saved.

    Raises:
      ConfigError: if there is no run.
    """
    if not workdir:
        raise ConfigError("--workdir=… must be given: the folder of a run of experiments.train")
    path = Path(workdir).expanduser() / "config.json"
    if not path.exists():
        raise ConfigError(
            f"--workdir={workdir}: there is no run here (no config.json); train one with experiments.train"
        )
    return str(path)


def saved_config(workdir: str | None) -> ConfigDict:
    """The config of the run in ``workdir``, with the numbers that came into being after it at their defaults.

    Raises:
      ConfigError: if there is no run, or one that this version cannot read.
    """
    config = load_resolved(config_path(workdir))
    if "classifier" in config:
        raise ConfigError(
            f"--workdir={workdir}: this run is a classifier; name it as --config.rules.classifier.workdir=… with the "
            f"--workdir of a model"
        )
    if "guidance" not in config:
        raise ConfigError(
            f"--workdir={workdir}: this run was saved before guidance was a list of rules (config.guidance); train it "
            f"again, into another folder"
        )
    return filled(config, base.get_config())


def open_experiment(
    config: Config, workdir: Path, step: int | None, scales: Sequence[float] | None = None, latents: bool = False
) -> Experiment:
    """Loads the averaged parameters of a checkpoint (the newest, or that of ``step``).

    Args:
      config: the whole config.
      workdir: the folder of the run.
      step: the checkpoint, the newest by default.
      scales: the guidance scales that are to be sampled at; by default all that the config names.
      latents: whether the caller can do with a model of latents, whose network does not see the data themselves.

    Raises:
      ConfigError: for a bad config or a checkpoint that is not there.
    """
    config = filled(config, base.get_config())
    check_config(config, base.get_config())
    build.check_choices(config, scales)
    if config.data.latents and not latents:
        raise ConfigError(
            f"--workdir={workdir}: this is a model of latents; sample and evaluate take it, this does not"
        )
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    like = jax.eval_shape(functools.partial(model.init_params, built), jax.random.key(0))
    found, params = _restore(f"--workdir={workdir}", workdir, step, config.sampling.ema, like)
    extras = _extras(config, workdir, found, like)
    return Experiment(dataset, built, model.make_sampler(config, built, dataset, extras), params, found, extras)


def _restore(given: str, workdir: Path, step: int | None, ema: str, like: PyTree) -> tuple[int, PyTree]:
    decay = None if ema == "none" else ema
    try:
        return training.restore_params(workdir / "checkpoints", step=step, decay=decay, like=like)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(f"{given}: {error}") from error


def _extras(config: Config, workdir: Path, step: int, like: PyTree) -> Extras:
    """What the rules of ``config.guidance`` read from other checkpoints."""
    extras = NO_EXTRAS
    if "autoguidance" in config.guidance:
        weaker = config.rules.autoguidance
        if weaker.step >= step:
            raise ConfigError(
                f"config.rules.autoguidance.step={weaker.step}: must be a step before that of the model, {step}"
            )
        ema = config.sampling.ema if weaker.ema is None else weaker.ema
        _, weak = _restore(f"config.rules.autoguidance.step={weaker.step}", workdir, weaker.step, ema, like)
        extras = extras._replace(weak=weak)
    if "classifier" in config.guidance:
        extras = extras._replace(classifier=classifier.open_logits(config, config.rules.classifier))
    return extras

"""Opening a run: the parameters of a checkpoint, and its model with data and sampler."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import data, tasks
from experiments.cli.choices import named_object
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Dataset
from experiments.models.devices import param_shapes
from experiments.models.run_files import check_class_names, check_encoder, check_weights, restore
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import make_sampler
from experiments.tasks.diffusion.guidance import NO_EXTRAS, Extras
from experiments.tasks.diffusion.model import at_params
from experiments.tasks.task import Run
from scorekit.checks import check_finite
from scorekit.io import Loaded
from scorekit.typing import PyTree


def open_run(
    config: Config,
    workdir: Path,
    step: int | None = None,
    scales: Sequence[float] | None = None,
    *,
    dataset: Dataset | None = None,
) -> Run:
    """Loads the averaged parameters of a checkpoint.

    Args:
      step: the checkpoint, the newest by default.
      scales: the guidance scales to sample at; by default all that the config names.
      dataset: its data, built by default.
    """
    tasks.fields_of(config).check_values(config)
    saved = check_weights(config, workdir, step)
    if dataset is None:
        dataset = data.load(config, workdir)
    sampler = checks.build(config, dataset, scales)
    model = sampler.model
    check_encoder(config, dataset.encoder, saved, workdir)
    check_class_names(dataset.class_names, saved, workdir)
    like = param_shapes("network", config.network.to_dict(), lambda: model.init(jax.random.key(0)))
    step, params = restore(f"--workdir={workdir}", workdir, step, config.sampling.ema, like)
    extras = _extras(config, workdir, step, like)
    if model.objective.learns_schedule or extras != NO_EXTRAS:
        model = at_params(model, params)
        sampler = make_sampler(config, model, dataset, extras)
    return Run(dataset, model, sampler, params, step, extras)


def open_score(config: Config, workdir: Path, *which: Any, dataset: Dataset | None = None) -> Run:
    """As :func:`open_run`, of a model that has a score of the data themselves: its noise must be independent."""
    check_no_latents(config, f"--workdir={workdir}")
    coupling = config.loss.coupling.name
    if coupling != "independent":
        raise ConfigError(
            f"--workdir={workdir}: a model of config.loss.coupling.name={coupling} has no score, which this program "
            f"needs; train one with loss.coupling.name=independent"
        )
    return open_run(config, workdir, *which, dataset=dataset)


def check_no_latents(config: Config, given: str) -> None:
    """Raises an error, which begins with ``given``, for a model of latents: its network does not receive the data."""
    if config.get("latents"):
        raise ConfigError(
            f"{given}: this is a model of latents, which this program does not take; sample and evaluate do"
        )


def _extras(config: Config, workdir: Path, step: int, like: PyTree) -> Extras:
    """The inputs of the rules of ``config.guidance`` from other checkpoints and averages."""
    extras = NO_EXTRAS
    if "autoguidance" in config.guidance:
        weaker = config.rules.autoguidance
        at = step if weaker.step is None else weaker.step
        ema = config.sampling.ema if weaker.ema is None else weaker.ema
        given = f"config.rules.autoguidance.step={at}, .ema={ema}"
        if at > step or (at, ema) == (step, config.sampling.ema):
            raise ConfigError(f"{given}: must be a step before the model's, {step}, or another average")
        _, weak = restore(given, workdir, at, ema, like)
        extras = extras._replace(weak=weak)
    if "classifier" in config.guidance:
        open_logits = named_object("experiments.tasks.classifier.model:open_logits")
        extras = extras._replace(classifier=open_logits(config, config.rules.classifier))
    return extras


def as_loaded(run: Run) -> Loaded:
    """The network with its parameters and their meaning; ``ConfigError`` unless they are finite."""
    if run.model.is_flow_map:
        raise ConfigError(
            "config.loss.flow_map: a flow map cannot be exported: its file would not say that the network takes the "
            "length of a jump"
        )
    try:
        check_finite(params=run.params)
    except ValueError as error:
        raise ConfigError(f"step {run.step} of the run cannot be exported: {error}; see --step") from None
    return Loaded(run.model.module, run.params, run.model.preconditioning, run.model.shape)

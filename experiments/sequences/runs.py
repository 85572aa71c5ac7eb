"""Training and opening models of sequences: the loop, checkpoints and samples are those of every other run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from experiments import data, training
from experiments.cli import distributed
from experiments.cli.config import Config
from experiments.configs import base_sequence
from experiments.data.symbols import Symbols
from experiments.evaluation import sequence_metrics
from experiments.evaluation.sequence_metrics import SequenceEvaluation
from experiments.models import sequence_sampling, sequences
from experiments.models.devices import everywhere
from experiments.models.loss import held_out_loss
from experiments.models.partial import PartialSamples
from experiments.models.restoring import averaged, check_average, restore
from experiments.models.runs import write_results
from experiments.models.sampling import Generate
from experiments.models.sequences import Sequences, build_model, init_params, load_data, make_loss, make_prepare
from experiments.models.sizes import COPIES, param_shapes
from experiments.models.weights import check_weights
from experiments.reporting import pictures
from experiments.sequences.report import Trained, write_training_report
from experiments.training import build_optimizer, loop
from scorekit.training import TrainState
from scorekit.typing import PyTree


class Run(NamedTuple):
    """A trained model of sequences with its data and sampler, and the step of its checkpoint."""

    dataset: Symbols
    model: Sequences
    generate: Generate
    params: PyTree
    step: int


def _check(config: Config, scales: Sequence[float] | None = None) -> None:
    data.check(config)
    sequences.check(config)
    scales = (config.sampling.guidance_scale, *config.evaluation.guidance_scales) if scales is None else scales
    sequence_sampling.check(config, scales)


def check(config: Config) -> None:
    """Validates the config of a new run before anything is loaded or compiled."""
    base_sequence.check_fields(config)
    _check(config)
    check_average(config, "sampling.ema")
    training.check(config)
    sequence_metrics.check(config)
    training.check_devices(config)


def fit_model(config: Config, workdir: Path, dataset: Symbols, model: Sequences, draw=None) -> TrainState:
    """Trains to ``config.training.steps``, from the newest checkpoint if there is one; see :func:`loop.fit`."""
    loss = make_loss(model)
    return loop.fit(
        config,
        workdir,
        dataset,
        params=init_params(model, jax.random.key(config.seed)),
        prepare=make_prepare(model, dataset, config.loss.label_dropout),
        loss=loss,
        ema=config.sampling.ema,
        held_out=held_out_loss(make_prepare(model, dataset), loss, dataset),
        draw=draw,
        optimizer=build_optimizer(config.training, module=model.module),
        gathers=getattr(model.module, "gathers", ()),
    )


def train(config: Config, workdir: Path, start: float) -> Trained | None:
    """Trains to the last step, then samples, evaluates and writes the report; None in processes that write nothing.

    Args:
      config: the full config.
      workdir: the folder of the run.
      start: ``time.monotonic()`` at the start of the program.
    """
    dataset = load_data(config)
    model = build_model(config, dataset)
    param_shapes(config, "network", lambda: init_params(model, jax.random.key(0)), copies=COPIES)
    generate = sequence_sampling.make_sampler(config, model, dataset)

    def draw(path, params, step):
        return pictures.sample_picture(path, config, dataset, generate, params, f"Samples after {step:,} steps")

    state = fit_model(config, workdir, dataset, model, draw)
    print("sampling and evaluating …", flush=True)
    params = everywhere(averaged(state, config.sampling.ema))
    partial = PartialSamples(workdir / "samples" / "partial")
    found = sequence_metrics.evaluate(config, model, dataset, params, generate, partial)
    folder, title = distributed.folder(workdir), f"Samples at guidance scale γ = {config.sampling.guidance_scale:g}"
    picture = pictures.sample_picture(folder / "samples.png", config, dataset, generate, params, title)
    sounds = pictures.listening(folder / "sounds", config, dataset, generate, params)
    if not distributed.is_first():
        return None
    write_results(workdir / "evaluation.json", found.values())
    done = write_training_report(config, workdir, dataset, found, (picture, title), sounds, params, start)
    partial.remove()
    return done


def open_run(config: Config, workdir: Path, step: int | None = None, scales: Sequence[float] | None = None) -> Run:
    """Loads the averaged parameters of a checkpoint.

    Args:
      config: the full config.
      workdir: the folder of the run.
      step: the checkpoint, the newest by default.
      scales: the guidance scales to sample at; by default all that the config names.

    Raises:
      ConfigError: for an invalid config, one that the weights were not trained with, or a checkpoint that does not
        exist.
    """
    check_weights(config, workdir, step)
    _check(config, scales)
    dataset = load_data(config)
    model = build_model(config, dataset)
    like = param_shapes(config, "network", lambda: init_params(model, jax.random.key(0)))
    found, params = restore(f"--workdir={workdir}", workdir, step, config.sampling.ema, like)
    return Run(dataset, model, sequence_sampling.make_sampler(config, model, dataset), params, found)


def evaluate(config: Config, run: Run, partial: PartialSamples) -> SequenceEvaluation:
    """Every metric of a run; the samples are kept in ``partial`` until the caller removes them."""
    return sequence_metrics.evaluate(config, run.model, run.dataset, run.params, run.generate, partial)

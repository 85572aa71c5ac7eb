"""A model of sequences of codes: autoregressive, or discrete diffusion."""

import functools

from experiments import data
from experiments.cli.config import ConfigError
from experiments.data import LATENTS
from experiments.reporting.run_report import Findings
from experiments.reporting.samples import drawing
from experiments.tasks import task
from experiments.tasks.sequences import metrics, sampling
from experiments.tasks.sequences import model as sequences
from experiments.tasks.task import LEFT_OUT
from experiments.training import build_optimizer, check_average, loop
from experiments.training.loop import Trainable, held_out_loss

FIELDS = task.fields(
    "sequence",
    data.KINDS,
    latents=LATENTS,
    **sequences.FIELDS,
    sampling=sampling.FIELDS,
    evaluation=metrics.FIELDS,
)
OPENED_BY = "is a model of sequences, which this program does not take; sample and evaluate do"
load, resolve, train = sequences.load_data, task.unchanged, loop.train
fields = lambda config=None: FIELDS


def build(config, dataset, opened=False):
    sampling.check(config, dataset)
    check_average(config, "sampling.ema", post_hoc=opened)
    dataset.num_samples(config.evaluation.num_samples)
    model = sequences.build_model(config, dataset)
    generate, loss = sampling.make_sampler(config, model, dataset), sequences.make_loss(model)
    prepare = functools.partial(sequences.make_prepare, model, dataset)
    trained = Trainable(
        init=functools.partial(sequences.init_params, model),
        prepare=prepare(config.loss.label_dropout),
        loss=loss,
        optimizer=build_optimizer(config.training, module=model.module),
        held_out=held_out_loss(prepare(), loss, dataset),
        ema=config.sampling.ema,
        draw=drawing(dataset, generate, config.seed, config.sampling.guidance_scale),
        gathers=getattr(model.module, "gathers", ()),
    )
    return task.Setup(config, model, "network", trained, generate)


def open_run(config, workdir, step=None, scales=None):
    sampling.check_scales(config, scales or ())
    return task.open_run(load, functools.partial(build, opened=True), config, workdir, step)


drawn_by = lambda config: config.model


def evaluate(config, run, workdir, asked: task.Asked):
    if asked.exact:
        raise ConfigError("--bits_per_dim: not for a model of sequences, whose bits per symbol are always evaluated")
    title = f"Samples at guidance scale γ = {config.sampling.guidance_scale:g}"
    pictures = task.drawn_at_end(config, run, workdir, asked, title)
    if asked.stem is None and config.evaluation.at_end is False:
        return Findings({}, [], {"model": config.model, **LEFT_OUT}, pictures, title="sequences")
    values, tables = metrics.evaluate(config, run, asked.partial)
    facts = {"model": config.model, "bits per symbol": values["bits per symbol"]}
    loss = "Nats per symbol as logged and its running mean."
    return Findings(values, tables, facts, pictures, title="sequences", loss=loss)

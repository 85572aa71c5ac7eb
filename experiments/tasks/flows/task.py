"""An invertible flow of any kind of data, whose density is exact: couplings, or an autoregressive flow."""

import functools

from experiments import data
from experiments.cli.config import ConfigError
from experiments.data import LATENTS, conditions
from experiments.reporting.run_report import Findings
from experiments.reporting.samples import drawing
from experiments.tasks import task
from experiments.tasks.diffusion.build import dropout_rates
from experiments.tasks.flows import metrics
from experiments.tasks.flows import model as flows
from experiments.tasks.task import LEFT_OUT
from experiments.training import build_optimizer, check_average, loop
from experiments.training.loop import Trainable, held_out_loss

FIELDS = task.fields(
    "flow",
    data.KINDS,
    conditions=conditions.FIELDS.but("captions", "embeddings"),
    latents=LATENTS,
    **flows.FIELDS,
    evaluation=metrics.FIELDS,
)
OPENED_BY = "is a flow, which this program does not take; sample and evaluate do"
load = data.load
resolve, train = task.unchanged, loop.train
fields = lambda config=None: FIELDS
drawn_by = lambda config: f"temperature {config.sampling.temperature:g}"


def build(config, dataset, opened=False):
    flows.check(config, dataset)
    check_average(config, "sampling.ema", post_hoc=opened)
    model = flows.build(config, dataset)
    generate, loss = flows.make_sampler(config, model, dataset), flows.make_loss(model)
    prepare = functools.partial(flows.make_prepare, model, dataset)
    trained = Trainable(
        init=functools.partial(flows.init_params, model, dataset),
        prepare=prepare(dropout_rates(config)),
        loss=loss,
        optimizer=build_optimizer(config.training, module=model.module),
        held_out=held_out_loss(prepare(), loss, dataset),
        ema=config.sampling.ema,
        draw=drawing(dataset, generate, config.seed, config.sampling.guidance_scale),
    )
    return task.Setup(config, model, "network", trained, generate)


open_run = functools.partial(task.open_run, load, functools.partial(build, opened=True))


def evaluate(config, run, workdir, asked: task.Asked):
    if asked.exact:
        raise ConfigError("--bits_per_dim: not for a flow, whose exact bits per dimension are always evaluated")
    pictures = task.drawn_at_end(config, run, workdir, asked, f"Samples at {drawn_by(config)}")
    if asked.stem is None and config.evaluation.at_end is False:
        return Findings({}, [], LEFT_OUT, pictures, title="flow")
    values, tables = metrics.evaluate(config, run.model, run.dataset, run.params, run.generate, asked.partial)
    facts = {"bits/dim": values["exact/bits per dim"]}
    loss = "Nats per dimension as logged and their running mean."
    return Findings(values, tables, facts, pictures, title="flow", loss=loss)

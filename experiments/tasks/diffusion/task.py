"""A diffusion model, or by ``config.loss.flow_map`` a flow map, of any kind of data."""

import functools
from typing import Any

import optax

from experiments import data, tasks
from experiments.cli import distributed
from experiments.cli.config import Config, require
from experiments.cli.fields import fields_by
from experiments.data import conditions
from experiments.models import inputs
from experiments.models.conditioning import dropout_rates, target_conditions, untrained_nulls
from experiments.models.inputs import LATENTS
from experiments.reporting.report import Figure, Heading, Section
from experiments.reporting.run_report import Findings
from experiments.reporting.samples import drawing
from experiments.tasks import task
from experiments.tasks.diffusion import checks, metrics, runs
from experiments.tasks.diffusion import model as built
from experiments.tasks.diffusion.fields import MODEL_FIELDS
from experiments.tasks.diffusion.fine_tuning import initial_params, take_unset
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.metrics.ema_sweep import ema_sweep
from experiments.tasks.diffusion.metrics.run_metrics import evaluate as all_metrics
from experiments.tasks.diffusion.report import (
    by_map_picture,
    ema_sweep_picture,
    ema_sweep_table,
    evaluation_tables,
    final_pictures,
    loss_picture,
    shows_maps,
)
from experiments.tasks.diffusion.sampling import make_sampler
from experiments.tasks.task import LEFT_OUT, Asked, Model
from experiments.training import build_optimizer
from experiments.training.held_out import held_out_loss
from experiments.training.loop import Trainable
from experiments.training.run import check_same_run
from scorekit.io import as_path

FIELDS = task.fields(
    "diffusion",
    data.KINDS,
    conditions=conditions.FIELDS,
    latents=LATENTS,
    **MODEL_FIELDS,
    evaluation=metrics.FIELDS,
)
OPENED_BY = "is a diffusion model, which this program does not take"
check_continues, load = check_same_run, inputs.load_data
fields = lambda config=None: FIELDS


def check(config, dataset):
    take_unset(config, dataset)
    checks.check(config, dataset)
    checks.check_trainable(config)
    metrics.check(config, dataset)


def build(config, dataset):
    model = built.build_model(config, dataset)
    init, generate = model.init, make_sampler(config, model, dataset)
    return Model(config, model, "network", init, generate)


def trainable(config, dataset, model):
    denoising, loss, options = model.built, make_loss(model.built), config.loss
    dropout = dropout_rates(config), options.joint_dropout, options.caption_dropout or 0.0
    return Trainable(
        init=lambda key: initial_params(config, denoising),
        prepare=make_prepare(denoising, dataset, *dropout),
        loss=loss,
        optimizer=_optimizer(config, denoising),
        held_out=held_out_loss(make_prepare(denoising, dataset), loss, dataset),
        ema=config.sampling.ema,
        draw=drawing(config, dataset, model.generate),
        gathers=getattr(denoising.module, "gathers", ()),
    )


def _optimizer(config: Config, model: built.Model) -> optax.GradientTransformation:
    """One for the network, and one for its discriminators."""
    network = build_optimizer(config.training, module=model.module)
    objective: Any = model.objective
    if not model.is_flow_map or objective.critic is None:
        return network
    critic = build_optimizer(config.training, config.training.learning_rate * objective.of_map.critic_rate)
    of = lambda params: {name: "critic" if name == built.CRITIC else "network" for name in params}
    return optax.multi_transform({"network": network, "critic": critic}, of)


train = functools.partial(task.train_one, trainable)


def open_run(config, workdir, step=None, scales=None):
    check = None
    if scales is None:
        check, scales = metrics.check, config.evaluation.guidance_scales
    return runs.open_run(config, workdir, step, scales, on_latents=True, any_coupling=True, check_data=check)


def drawn_by(config):
    return " + ".join(config.guidance)


def drawn(folder, config, model, run):
    """The pictures at the end of training."""
    usual = () if untrained_nulls(config) or config.guidance[0] != "classifier_free" else (0.0, 1.0)
    maps = lambda labels: target_conditions(model, run.dataset, labels)["dense_map"]
    return final_pictures(
        folder,
        config,
        run.dataset,
        run.generate,
        run.params,
        schedule=model.schedule,
        scales=[*config.evaluation.guidance_scales, *usual],
        maps=maps if shows_maps(model.extracts, run.dataset) else None,
    )


def evaluate(config, run, workdir, asked: Asked):
    model, at_end, folder = built.at_params(run.model, run.params), asked.stem is None, distributed.folder(workdir)
    swept = ema_sweep(config, run, workdir, asked.widths, asked.partial) if asked.widths else None
    pictures = drawn(folder, config, model, run) if at_end else []
    if at_end and config.evaluation.at_end is False:
        return Findings({}, [], LEFT_OUT, pictures)
    found = all_metrics(config, model, run.dataset, run.params, run.generate, asked.partial, asked.exact)
    values, tables, figures = found.values(), evaluation_tables(found), list[Section]()
    if swept is not None:
        values |= swept.values()
        tables.append(ema_sweep_table(swept.rows, swept.bits, swept.step, found.caption))
        path = as_path(f"{asked.stem}_ema.png")
        figures.append(Figure(ema_sweep_picture(path, [*swept.rows], swept.curves(), swept.step)))
    if found.exact is not None and found.exact.by_map is not None:
        jumps = found.exact.by_map
        ranking = by_map_picture(as_path(f"{asked.stem}_by_map.png"), jumps.rows, jumps.exact, jumps.by_map)
        figures.append(Figure(ranking, "Each test example: the ranking of examples by the map and by the ODE."))
    losses = loss_picture(as_path(f"{asked.figures(folder, 'loss_by_noise_level')}.png"), found.loss_by_noise_level)
    if at_end:
        figures.append(Figure(losses, "Left: noise. Right: data."))
        facts = {name.replace("/", ", "): value for name, value in found.values().items() if "accuracy" in name}
        facts |= {"bits/dim": found.bound.total} if found.bound else {}
    else:
        figures += [Heading("Loss by noise level"), Figure(losses)]
        facts = {"guidance": drawn_by(config)}
    return Findings(values, tables, facts, pictures, figures)


@fields_by(lambda config: FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config is one of a diffusion, with exactly its fields within their bounds."""
    task = config.get("task")
    require(task == "diffusion", "task", task, "diffusion: this program takes models of no other task")
    FIELDS.check(config)


def saved(workdir: str | None) -> Config:
    """The config of the run of a diffusion in ``workdir``; see :func:`experiments.tasks.saved`."""
    return tasks.saved(workdir, "diffusion")

"""A diffusion model, or by ``config.loss.flow_map`` a flow map, of any kind of data."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import optax

from experiments import data, tasks
from experiments.cli import distributed
from experiments.cli.choices import named_object
from experiments.cli.config import Config, require
from experiments.cli.fields import fields_by
from experiments.data import LATENTS, conditions
from experiments.data.dataset import Dataset
from experiments.models.conditioning import target_conditions
from experiments.reporting.report import Figure, Heading, Section
from experiments.reporting.run_report import Findings
from experiments.reporting.samples import drawing
from experiments.tasks import task
from experiments.tasks.diffusion import checks, metrics, own_images, runs
from experiments.tasks.diffusion.build import dropout, untrained_nulls
from experiments.tasks.diffusion.fields import MODEL_FIELDS
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.metrics.run_metrics import evaluate as all_metrics
from experiments.tasks.diffusion.model import CRITIC, Model, at_params
from experiments.tasks.diffusion.report import draw_losses, evaluation_tables, final_images, shows_maps
from experiments.tasks.task import LEFT_OUT, Asked, Setup
from experiments.training import build_optimizer, loop
from experiments.training.loop import Trainable, held_out_loss
from scorekit.io import as_path
from scorekit.typing import Key, PyTree

FIELDS = own_images.optional(
    task.fields(
        "diffusion",
        data.KINDS,
        conditions=conditions.FIELDS,
        latents=LATENTS,
        **MODEL_FIELDS,
        evaluation=metrics.FIELDS,
    )
)
OPENED_BY = "is a diffusion model, which this program does not take"
load = data.load
fields = lambda config=None: FIELDS


def resolve(config, dataset):
    config = config.copy_and_resolve_references()
    described = any(config.conditions[section].name != "none" for section in conditions.SECTIONS.values())
    if not dataset.labelled and not described and config.guidance == ("classifier_free",):
        config.guidance, config.sampling.guidance_scale = ("conditional",), 1.0
        config.evaluation.guidance_scales = (1.0,)
    if config.init_from is not None:
        named_object("experiments.tasks.diffusion.fine_tuning:take_unset")(config)
    own_images.take_chosen(config, dataset)
    return config


def build(config, dataset):
    setup = set_up(config, dataset)
    checks.check_evaluation(config, dataset, cast(Any, setup.generate))
    return setup


def set_up(config: Config, dataset: Dataset, scales: Sequence[float] | None = None) -> Setup:
    """The model with its sampler and its training, validated at these guidance scales or all that the config names."""
    sampler = checks.build(config, dataset, scales)
    checks.check_trainable(config)
    model, loss = sampler.model, make_loss(sampler.model)
    trained = Trainable(
        init=model.init if config.init_from is None else _from_weights(config, model),
        prepare=make_prepare(model, dataset, *dropout(config)),
        loss=loss,
        optimizer=_optimizer(config, model),
        held_out=held_out_loss(make_prepare(model, dataset), loss, dataset),
        ema=config.sampling.ema,
        draw=drawing(dataset, sampler, config.seed, config.sampling.guidance_scale),
        gathers=getattr(model.module, "gathers", ()),
    )
    return Setup(config, model, "network", trained, sampler)


def _from_weights(config: Config, model: Model) -> Callable[[Key], PyTree]:
    """``key -> parameters`` that begins with the weights of ``config.init_from``."""
    return functools.partial(named_object("experiments.tasks.diffusion.fine_tuning:initial_params"), config, model)


def _optimizer(config: Config, model: Model) -> optax.GradientTransformation:
    """One for the network, and one for its discriminators."""
    network = build_optimizer(config.training, module=model.module)
    objective: Any = model.objective
    if not model.is_flow_map or objective.critic is None:
        return network
    critic = build_optimizer(config.training, config.training.learning_rate * objective.of_map.critic_rate)
    labels = lambda params: {name: "critic" if name == CRITIC else "network" for name in params}
    return optax.multi_transform({"network": network, "critic": critic}, labels)


train = loop.train


def open_run(config, workdir, step=None, scales=None):
    run = runs.open_run(config, workdir, step, config.evaluation.guidance_scales if scales is None else scales)
    if scales is None:
        checks.check_evaluation(config, run.dataset, run.generate)
    return run


def drawn_by(config):
    return " + ".join(config.guidance)


def final(folder, config, model, run):
    """The images at the end of training."""
    usual = () if untrained_nulls(config) or config.guidance[0] != "classifier_free" else (0.0, 1.0)
    maps = lambda labels: target_conditions(model, run.dataset, labels)["dense_map"]
    return final_images(
        folder,
        run.dataset,
        functools.partial(run.generate, run.params, config.seed),
        gamma=config.sampling.guidance_scale,
        schedule=model.schedule,
        scales=[*config.evaluation.guidance_scales, *usual],
        maps=maps if shows_maps(model.extracts, run.dataset) else None,
    )


def evaluate(config, run, workdir, asked: Asked):
    model, at_end, folder = at_params(run.model, run.params), asked.stem is None, distributed.folder(workdir)
    images = final(folder, config, model, run) if at_end else []
    if at_end and config.evaluation.at_end is False:
        return Findings({}, [], LEFT_OUT, images)
    measured = all_metrics(config, model, run.dataset, run.params, run.generate, asked.partial, asked.exact)
    values, tables, figures = measured.values(), evaluation_tables(measured), list[Section]()
    losses = draw_losses(as_path(f"{asked.figures(folder, 'loss_by_noise_level')}.png"), measured.loss_by_noise_level)
    if at_end:
        figures.append(Figure(losses, "Left: noise. Right: data."))
        facts = {name.replace("/", ", "): value for name, value in measured.values().items() if "accuracy" in name}
        facts |= {"bits/dim": measured.bound.total} if measured.bound else {}
    else:
        figures += [Heading("Loss by noise level"), Figure(losses)]
        facts = {"guidance": drawn_by(config)}
    return Findings(values, tables, facts, images, figures)


@fields_by(lambda config: FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config is one of a diffusion, with exactly its fields within their bounds."""
    task = config.get("task")
    require(task == "diffusion", "task", task, "diffusion: this program takes models of no other task")
    FIELDS.check(config)


def saved(workdir: str | None) -> Config:
    """The config of the run of a diffusion in ``workdir``; see :func:`experiments.tasks.saved`."""
    return tasks.saved(workdir, "diffusion")

"""The posterior of parameters given observations, from a table of both or a simulator: amortised inference.

A conditional diffusion model of ``theta`` given ``x``, both standardised by the training table; bounded parameters are
mapped to the real line. It is trained on the joint distribution, so that one model serves any observation. Truncated
and sequential rounds, which spend simulations near one observation, are not implemented.
"""

from pathlib import Path
from typing import Any

from experiments import data, models
from experiments.cli import distributed
from experiments.cli.config import require, require_field
from experiments.cli.fields import Section
from experiments.data.vectors.simulators import OF_SEVERAL
from experiments.data.vectors.tables import Table, conditions_chosen
from experiments.evaluation import LEFT_OUT, posteriors
from experiments.models import checks, runs
from experiments.models.posterior import Posterior, use_statistics, write_statistics
from experiments.models.run_files import config_of, restore
from experiments.reporting import posteriors as reporting
from experiments.reporting.pictures import drawing
from experiments.reporting.run_report import Findings
from experiments.reporting.tables import metrics_table
from experiments.tasks import diffusion, task
from experiments.tasks.task import Asked
from experiments.training import loop
from experiments.training.writers import read_metrics

_LOSS = models.FIELDS["loss"].but(times="log_normal_sigma", label_dropout=0.0, vector_dropout=0.0, map_dropout=0.0)
_SAMPLING = models.FIELDS["sampling"].but(steps=40, guidance_scale=1.0, batch_size=10_000)
_MODEL = Section({**models.FIELDS, "loss": _LOSS, "sampling": _SAMPLING})
FIELDS = task.fields(
    "posterior",
    data.FIELDS.but(name="simulator", vector="columns", label="none"),
    **_MODEL.but(network="mlp", schedule="linear_log_snr", guidance=("conditional",)),
    evaluation=posteriors.FIELDS,
)
OPENED_BY = "is a posterior, which this program does not take; sample and evaluate do"
load, drawn_by, check_continues, build = data.load, diffusion.drawn_by, loop.check_same_run, diffusion.build
fields = lambda config=None: FIELDS


def check(config):
    kinds = [name for name, kind in data.KINDS.items() if issubclass(kind, Table)]
    allowed = f"{' or '.join(kinds)} for config.task=posterior"
    require_field(config, "data.name", config.data.name in kinds, allowed)
    data.check(config)
    require(
        bool(conditions_chosen(config.data)),
        "conditions.vector.name",
        config.conditions.vector.name,
        "columns, or conditions.tokens.name=set or conditions.map.name=sequence: a posterior needs an observation",
    )
    known = not config.evaluation.composed or config.data.simulator in OF_SEVERAL
    allowed = f"() unless data.simulator={' or '.join(OF_SEVERAL)}: no other posterior of several observations is known"
    require(known, "evaluation.composed", config.evaluation.composed, allowed)
    checks.check(config, (config.sampling.guidance_scale,))
    checks.check_trainable(config)


def stages(config, dataset, model, workdir):
    if distributed.is_first():
        write_statistics(dataset, workdir)
    draw = drawing(config, dataset, model.generate)
    params = yield diffusion.fit(config, dataset, model.built, workdir, draw)
    step = best_step(workdir)
    if step in (None, config.training.steps):
        return params
    print(f"step {step:,} has the smallest held-out loss and is used", flush=True)
    return restore(f"--workdir={workdir}", workdir, step, config.sampling.ema)[1]


def best_step(workdir: Path) -> int | None:
    """The checkpoint with the smallest held-out loss; None for the newest."""
    path, losses = workdir / "metrics.jsonl", {}
    for row in read_metrics(path) if path.exists() else []:
        if "held_out/loss" in row and (workdir / "checkpoints" / str(row["step"])).exists():
            losses[row["step"]] = row["held_out/loss"]
    return min(losses, key=lambda step: losses[step]) if losses else None


def open_run(config, workdir, step=None, scales=None):
    check(config)
    dataset: Any = load(config)  # a Table
    use_statistics(dataset, workdir)
    step = best_step(workdir) if step is None else step
    return runs.open_run(config, workdir, step, (config.sampling.guidance_scale,), dataset=dataset)


def open_posterior(workdir: str | Path, step: int | None = None) -> Posterior:
    """The posterior of a run, to sample and evaluate; by default its checkpoint of the smallest held-out loss."""
    config = config_of(workdir, f"--workdir={workdir}", "posterior", FIELDS)
    return Posterior(config, open_run(config, Path(workdir), step))


def evaluate(config, run, workdir, asked: Asked):
    if asked.stem is None and config.evaluation.at_end is False:
        return Findings({}, [], LEFT_OUT)
    posterior = Posterior(config, run)
    found = posteriors.calibration(posterior, config.seed + 1)
    tables, values, facts = (
        [reporting.calibration_table(found)],
        reporting.calibration_values(found),
        reporting.facts(found),
    )
    if of_many := posteriors.composed(posterior, config.seed + 1):
        about = "Composed from single observations; the error of the mean is in exact standard deviations."
        tables, values = [*tables, metrics_table(of_many, about)], {**values, "composed": of_many}
    stem = asked.figures(distributed.folder(workdir), "posterior")
    figures = reporting.calibration_figures(stem, found, posterior.dataset.entries)
    return Findings(values, tables, facts, figures=figures, heading="Calibration", title="posterior")

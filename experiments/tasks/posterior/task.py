"""The posterior of parameters given observations, from a table of both or a simulator: amortised inference.

A conditional diffusion model of ``theta`` given ``x``, both standardised by the training table; bounded parameters are
mapped to the real line. It is trained on the joint distribution, so that one model serves any observation. Truncated
and sequential rounds, which spend simulations near one observation, are not implemented.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments import data
from experiments.cli import distributed
from experiments.cli.config import Config, ConfigError, require, require_field
from experiments.cli.fields import Section
from experiments.data import conditions
from experiments.data.vectors.columns import read_columns
from experiments.data.vectors.tables import Table
from experiments.models.run_files import config_of, restore
from experiments.reporting.run_report import Findings
from experiments.tasks import task
from experiments.tasks.diffusion import runs
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.fields import MODEL_FIELDS
from experiments.tasks.posterior import metrics
from experiments.tasks.posterior import report as reporting
from experiments.tasks.posterior.model import Posterior, use_statistics, write_statistics
from experiments.tasks.task import LEFT_OUT, Asked, Run
from experiments.training import loop
from experiments.training.writers import read_metrics
from scorekit.io import as_path

_LOSS = MODEL_FIELDS["loss"].but(times="log_normal_sigma", label_dropout=0.0, vector_dropout=0.0, map_dropout=0.0)
_SAMPLING = MODEL_FIELDS["sampling"].but(steps=40, guidance_scale=1.0, batch_size=10_000)
_MODEL = Section({**MODEL_FIELDS, "loss": _LOSS, "sampling": _SAMPLING})
FIELDS = task.fields(
    "posterior",
    data.KINDS.but("simulator"),
    conditions=conditions.FIELDS.but(vector="columns"),
    **_MODEL.but(network="mlp", schedule="linear_log_snr", guidance=("conditional",)),
    evaluation=metrics.FIELDS,
)
OPENED_BY = "is a posterior, which this program does not take; sample and evaluate do"
load, drawn_by = data.build, diffusion.drawn_by
resolve = task.unchanged
fields = lambda config=None: FIELDS


def build(config, dataset):
    require_field(config, "data.name", isinstance(dataset, Table), "table or simulator for config.task=posterior")
    allowed = "set for config.task=posterior: a posterior needs an observation"
    require(dataset.condition_kind is not None, "data.condition", None, allowed)
    return diffusion.set_up(config, dataset, (config.sampling.guidance_scale,))


def train(config, dataset, setup, workdir):
    if distributed.is_first():
        write_statistics(dataset, workdir)
    params = loop.train(config, dataset, setup, workdir)
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
    dataset: Any = load(config)
    build(config, dataset)
    use_statistics(dataset, workdir)
    step = best_step(workdir) if step is None else step
    return runs.open_score(config, workdir, step, (config.sampling.guidance_scale,), dataset=dataset)


def open_posterior(workdir: str | Path, step: int | None = None) -> Posterior:
    """The posterior of a run, to sample and evaluate; by default its checkpoint of the smallest held-out loss."""
    config = config_of(workdir, f"--workdir={workdir}", "posterior", FIELDS)
    return Posterior(config, open_run(config, Path(workdir), step))


def samples_given(config: Config, run: Run, path: str, number: int, seed: int) -> dict[str, np.ndarray]:
    """Samples ``x``, ``number`` for each row of a file of observations, their ``log_prob``, and the row, ``label``."""
    posterior = Posterior(config, run)
    try:
        observed = posterior.dataset.observed(read_columns(as_path(path)))
    except (ValueError, OSError) as error:
        raise ConfigError(f"--observation={path}: {error}") from error
    samples = posterior.sample(seed, observed, number)
    rows = np.repeat(np.arange(len(samples)), number)
    log_prob = posterior.log_prob(samples, observed)
    return {"x": samples.reshape(-1, samples.shape[-1]), "log_prob": log_prob.reshape(-1), "label": rows}


def evaluate(config, run, workdir, asked: Asked):
    if asked.stem is None and config.evaluation.at_end is False:
        return Findings({}, [], LEFT_OUT)
    posterior = Posterior(config, run)
    found = metrics.calibration(posterior, config.seed + 1)
    tables, values = [reporting.calibration_table(found)], reporting.calibration_values(found)
    stem = asked.figures(distributed.folder(workdir), "posterior")
    figures = reporting.calibration_figures(stem, found, posterior.dataset.entries)
    return Findings(values, tables, reporting.facts(found), figures=figures, heading="Calibration", title="posterior")

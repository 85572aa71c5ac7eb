"""Trains a model of any task, then samples and evaluates it; the same command continues a run that was stopped.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.train --config=… --workdir=… --config.training.steps=5000 --config.loss.target.name=eps
    python -m experiments.train --config=experiments/configs/sequences/digits_pixels.py --workdir=runs/pixels
    python -m experiments.train --config=experiments/configs/images/digits_classifier.py --workdir=runs/classifier
    python -m experiments.train --config=experiments/configs/distil.py:runs/digits,progressive --workdir=runs/fast

``config.task`` names the kind of model (:mod:`experiments.tasks`). The folder ``workdir`` then holds ``report.html``,
``config.json``, ``evaluation.json``, ``metrics.jsonl``, TensorBoard events, pictures and ``checkpoints/``.
"""

import time
from pathlib import Path

import jax

from experiments import tasks, training
from experiments.cli import command_line, distributed
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.outputs import write_results
from experiments.data import check_rows
from experiments.data.dataset import Dataset
from experiments.models.devices import COPIES, param_shapes
from experiments.models.samples import PartialSamples
from experiments.reporting.report import Figure
from experiments.reporting.run_report import write_run_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks import Asked
from experiments.tasks.task import Run
from experiments.training import lock
from experiments.training.hooks import profile
from experiments.training.writers import show_pictures

_CONFIG, _WORKDIR = shared.config(), shared.new_workdir()
shared.distributed()
profile.define_flag()


def check(config: Config, workdir: Path) -> Dataset:
    """Validates a config, and that it continues the run in ``workdir``; returns its data, of which no rows are read."""
    task = tasks.of(config)
    dataset = task.load(config)
    task.check(config, dataset)
    profile.wanted()
    training.check(config)
    training.check_devices(config)
    task.check_continues(config, workdir)
    return dataset


def main(config: Config) -> Path | None:
    start, workdir = time.monotonic(), shared.path(_WORKDIR, buckets=True)
    dataset = check(config, workdir)
    with lock.hold(workdir):
        return train(config, dataset, workdir, start)


def train(config: Config, dataset: Dataset, workdir: Path, start: float) -> Path | None:
    """Trains to the last step, then samples and evaluates; returns the report, in the first process."""
    task = tasks.of(config)
    check_rows(config, dataset)
    model = task.build(config, dataset)
    param_shapes(config, model.section, lambda: model.init(jax.random.key(0)), copies=COPIES)
    params = task.train(config, dataset, model, workdir)
    trained = time.monotonic() - start
    print(doing_at_the_end(model), flush=True)
    if model.generate is None:
        params = jax.device_get(params)  # every process goes on alone
    partial = PartialSamples(workdir / "samples" / "partial")
    run = Run(dataset, model.built, model.generate, params, config.training.steps)
    found = task.evaluate(model.config, run, workdir, Asked(partial))
    if not distributed.is_first():
        return None
    if found.values:
        write_results(workdir / "evaluation.json", found.values)
    pictures = [one.path for one in (*found.pictures, *found.figures) if isinstance(one, Figure)]
    show_pictures(workdir, run.step, pictures)
    report = write_run_report(config, workdir, dataset, params, found, trained)
    partial.remove()
    print(tables_as_text(found.tables))
    return report


def doing_at_the_end(model: tasks.Model) -> str:
    """The line before the evaluation."""
    if model.generate is None:
        return "measuring …"
    if model.config.evaluation.at_end is False:
        return "sampling …"
    return "sampling and evaluating … (left out with --config.evaluation.at_end=false)"


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.opened(_CONFIG.value), tasks.check_fields)

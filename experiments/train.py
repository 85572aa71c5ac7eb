"""Trains a model of any task, then samples and evaluates it; the same command continues a run that was stopped.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.train --config=… --workdir=… --config.training.steps=5000 --config.loss.target.name=eps
    python -m experiments.train --smoke --config=… --workdir=…
    python -m experiments.train --config=experiments/configs/sequences/digits_pixels.py --workdir=runs/pixels
    python -m experiments.train --config=experiments/configs/images/digits_classifier.py --workdir=runs/classifier
    python -m experiments.train --config=experiments/configs/distil.py:runs/digits,progressive --workdir=runs/fast

``config.task`` names the kind of model (:mod:`experiments.tasks`); ``--smoke`` makes any config small. The folder
``workdir`` then holds ``report.html``, ``config.json``, ``evaluation.json``, ``metrics.jsonl``, TensorBoard events,
pictures and ``checkpoints/``.
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
from experiments.tasks import Asked, Setup, Task
from experiments.tasks.small import needed_runs_named
from experiments.tasks.task import Run
from experiments.training import lock
from experiments.training.hooks import define_profile_flag, steps_to_profile
from experiments.training.run import as_begun
from experiments.training.writers import show_pictures
from scorekit.typing import PyTree

_CONFIG, _WORKDIR = shared.config(), shared.new_workdir()
shared.distributed()
define_profile_flag()


def main(config: Config) -> Path | None:
    start, workdir = time.monotonic(), shared.path(_WORKDIR, buckets=True)
    task = tasks.named(config.task)
    steps_to_profile()  # is an error for steps that are not two numbers in order
    with needed_runs_named(_CONFIG.value):
        dataset = task.load(config)
        config = task.resolve(as_begun(config, workdir), dataset)
        training.check(config)
        training.check_devices(config)
        setup = task.build(config, dataset)
    init = lambda: setup.trained.init(jax.random.key(0))  # the key is traced with it: nothing is computed
    param_shapes(setup.section, config[setup.section].to_dict(), init, copies=COPIES)  # is an error if too large
    with lock.hold(workdir):
        check_rows(config, dataset)
        params = task.train(config, dataset, setup, workdir)
        return report(task, setup, dataset, params, workdir, start)


def report(task: Task, setup: Setup, dataset: Dataset, params: PyTree, workdir: Path, start: float) -> Path | None:
    """Samples, evaluates and writes the report, whose path the first process returns."""
    config, trained = setup.config, time.monotonic() - start
    print("evaluating (if stopped, the same command continues) …", flush=True)
    if setup.generate is None:
        params = jax.device_get(params)  # every process goes on alone
    partial = PartialSamples(workdir / "samples" / "partial")
    run = Run(dataset, setup.model, setup.generate, params, config.training.steps)
    results = task.evaluate(config, run, workdir, Asked(partial))
    if not distributed.is_first():
        return None
    if results.values:
        write_results(workdir / "evaluation.json", results.values)
    images = [one.path for one in (*results.pictures, *results.figures) if isinstance(one, Figure)]
    show_pictures(workdir, run.step, images)
    path = write_run_report(workdir, dataset, params, results, trained)
    partial.remove()
    print(tables_as_text(results.tables))
    return path


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.opened(_CONFIG.value), tasks.check_fields)

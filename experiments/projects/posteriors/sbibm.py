r"""Classifier two-sample tests of posteriors on the tasks of SBIBM, beside published figures.

    python -m experiments.projects.posteriors.sbibm --out=runs/sbibm
    python -m experiments.projects.posteriors.sbibm --out=runs/sbibm --tasks=two_moons,slcp --simulations=10000

Needs the extra ``sbibm`` and Python 3.12. For each task and number of simulations it draws a table, trains a posterior,
draws 10,000 samples given each of the ten stored observations, and finds the accuracy of a classifier between these and
the stored reference samples: 0.5 is perfect, 1 is the worst. The same command continues a training that was stopped.
"""

import importlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import ConfigError
from experiments.cli.outputs import write_arrays, write_results
from experiments.projects.posteriors import recipes
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.posterior import task as posterior
from experiments.tasks.posterior.model import Posterior
from experiments.tasks.task import Run
from scorekit import metrics

_TASKS = shared.define(flags.DEFINE_list, "tasks", ["all"], f"Some of {', '.join(recipes.RECIPES)}, or all.")
_NUMBERS = shared.define(flags.DEFINE_list, "simulations", ["100000", "10000"], "Numbers of simulations.")
_STEPS = shared.define(flags.DEFINE_integer, "steps", None, "Steps, instead of the recipe's.", lower_bound=200)
_OUT = shared.out("Folder of simulations, runs, samples and results.", "runs/sbibm")
_OBSERVATIONS = shared.count("observations", 10, "Stored observations that are compared, from the first on.")
_SAMPLES = 10_000
HEADER = ["task", "simulations", "C2ST", "largest", "NPE", "SNPE", "CPU minutes"]


def task_of(name: str) -> Any:
    """The task of ``sbibm_jax``."""
    try:
        tasks: Any = importlib.import_module("sbibm_jax.tasks")
    except ImportError as error:
        raise ConfigError(f"--tasks={name}: needs the extra sbibm, of Python 3.12 or newer ({error})") from error
    return tasks.get_task(name)


def samples_of(task: Any, recipe: recipes.Recipe, number: int, folder: Path) -> np.ndarray:
    """Samples ``(10, S, D)`` given the stored observations, of a posterior that is trained in ``folder``."""
    table = folder / "simulations.npz"
    write_arrays(table, **recipes.simulations(task, recipe, number))
    config = recipes.config_of(task, recipe, str(table), number, _STEPS.value)
    dataset = posterior.load(config)
    setup = posterior.build(config, dataset)
    params = posterior.train(config, dataset, setup, folder / "run")
    run = Run(dataset, setup.model, setup.generate, params, config.training.steps)
    x = np.concatenate([np.asarray(task.get_observation(i)) for i in range(1, 11)])
    samples = Posterior(config, run).sample(0, {"x": recipes.observed(recipe, x)}, _SAMPLES)
    write_arrays(folder / "samples.npz", theta=samples)
    return samples


def accuracies(task: Any, samples: np.ndarray, label: str) -> list[float]:
    """The accuracy of the classifier for each of the first observations."""
    values, number = [], min(_OBSERVATIONS.value, len(samples))
    with progress.Progress(number, batch_size=1, label=label, unit="observations") as bar:
        for i in range(number):
            reference = np.asarray(task.get_reference_posterior_samples(i + 1))
            values.append(float(metrics.two_sample_test(reference, samples[i, : len(reference)]).statistic))
            bar.update(i + 1)
    return values


def main(_) -> Path:
    names, out = shared.chosen("tasks", _TASKS.value, recipes.RECIPES), Path(_OUT.value).absolute()
    rows: list[list[Cell]] = []
    for number in map(int, _NUMBERS.value):
        for name in names:
            folder, task, start = out / f"{name}_{number}", task_of(name), time.process_time()
            folder.mkdir(parents=True, exist_ok=True)
            print(f"{name}, {number:,} simulations: {folder}", flush=True)
            samples = samples_of(task, recipes.RECIPES[name], number, folder)
            minutes = (time.process_time() - start) / 60
            values = accuracies(task, samples, f"{name}, classifiers")
            published = recipes.PUBLISHED[name].get(number, (None, None))
            rows.append([name, number, float(np.mean(values)), max(values), *published, minutes])
            table = Table(HEADER, rows, f"Means over observations. {recipes.SOURCE}")
            write_results(out / "table.json", table.records())
    print(tables_as_text([table]))
    return out / "table.json"


if __name__ == "__main__":
    command_line.run(main)

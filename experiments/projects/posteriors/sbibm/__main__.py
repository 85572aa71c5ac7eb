r"""Classifier two-sample tests of posteriors on the tasks of SBIBM, beside published figures.

    python -m experiments.projects.posteriors.sbibm --out=runs/sbibm
    python -m experiments.projects.posteriors.sbibm --out=runs/sbibm --tasks=two_moons,slcp --simulations=10000

Needs the extra ``sbibm`` and Python 3.12. For each task and number of simulations it draws a table, trains a posterior,
draws 10,000 samples given each of the ten stored observations, and finds the accuracy of a classifier between these and
the stored reference samples: 0.5 is perfect, 1 is the worst. The same command continues a training that was stopped.
"""

import importlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_arrays, write_results
from experiments.projects.posteriors.sbibm import published, recipes
from experiments.reporting.tables import Table, tables_as_text
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


def task_of(name: str) -> Any:
    """The task of ``sbibm_jax``."""
    try:
        tasks: Any = importlib.import_module("sbibm_jax.tasks")
    except ImportError as error:
        raise ConfigError(f"--tasks={name}: needs the extra sbibm, of Python 3.12 or newer ({error})") from error
    return tasks.get_task(name)


def trained(config: Config, folder: Path) -> Posterior:
    """The posterior of a config, trained in ``folder``."""
    dataset = posterior.load(config)
    model = posterior.build(config, dataset)
    params = posterior.train(config, dataset, model, folder)
    return Posterior(config, Run(dataset, model.built, model.generate, params, config.training.steps))


def samples_of(name: str, number: int, folder: Path) -> None:
    """Writes the samples given the ten stored observations, with the CPU seconds that they took."""
    task, recipe, start = task_of(name), recipes.RECIPES[name], time.process_time()
    write_arrays(folder / "simulations.npz", **recipes.simulations(task, recipe, number))
    simulated = time.process_time()
    config = recipes.config_of(task, recipe, str(folder / "simulations.npz"), number, _STEPS.value)
    found = trained(config, folder / "run")
    at = time.process_time()
    x = np.concatenate([np.asarray(task.get_observation(i)) for i in range(1, 11)])
    samples = found.sample(0, {"x": recipes.observed(recipe, x)}, _SAMPLES)
    seconds = {"simulations": simulated - start, "training": at - simulated, "samples": time.process_time() - at}
    write_results(folder / "seconds.json", seconds)
    write_arrays(folder / "samples.npz", theta=samples)


def accuracies_of(name: str, folder: Path, observations: int) -> list[float]:
    """The accuracy of the classifier for each observation."""
    task, found = task_of(name), []
    with np.load(folder / "samples.npz") as file:
        samples = file["theta"]
    with progress.Progress(observations, batch_size=1, label=f"{name}, classifiers", unit="observations") as bar:
        for i in range(observations):
            reference = np.asarray(task.get_reference_posterior_samples(i + 1))
            found.append(float(metrics.two_sample_test(reference, samples[i, : len(reference)]).statistic))
            bar.update(i + 1)
    return found


def table(cells: dict[tuple[str, int], list[float]], out: Path) -> Table:
    """A row for each task, with the mean over observations, published means, and the CPU minutes."""
    rows = []
    for (name, number), found in cells.items():
        seconds = json.loads((out / f"{name}_{number}" / "seconds.json").read_text())
        known = published.C2ST[name].get(number, (None, None))
        rows.append([name, number, float(np.mean(found)), max(found), *known, sum(seconds.values()) / 60])
    header = ["task", "simulations", "C2ST", "largest", "NPE", "SNPE", "CPU minutes"]
    return Table(header, rows, f"Means over observations. {published.SOURCE}")


def main(_) -> Path:
    names = shared.chosen("tasks", _TASKS.value, recipes.RECIPES)
    out, cells = Path(_OUT.value).absolute(), {}
    for number in map(int, _NUMBERS.value):
        for name in names:
            folder = out / f"{name}_{number}"
            folder.mkdir(parents=True, exist_ok=True)
            print(f"{name}, {number:,} simulations: {folder}", flush=True)
            samples_of(name, number, folder)
            cells[name, number] = accuracies_of(name, folder, _OBSERVATIONS.value)
            found = table(cells, out)
            write_results(out / "table.json", found.records())
    print(tables_as_text([found]))
    return out / "table.json"


if __name__ == "__main__":
    command_line.run(main)

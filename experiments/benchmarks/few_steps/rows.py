"""Rows of the tables of images and points: metrics of samples with their standard errors."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments.benchmarks.few_steps import methods, teacher
from experiments.cli.config import Config, ConfigError
from experiments.data.display import Scorer
from experiments.models import guidance
from experiments.models.model import Model
from experiments.models.runs import Run, open_run
from experiments.models.sampling import build_sampler, make_sampler
from experiments.reporting.tables import Table, tables_as_text
from scorekit import metrics
from scorekit.io import as_path, write_atomic

Score = Callable[[Config, Model, Any], tuple[dict[str, list[float]], float]]
"""``(config, model, params) -> metrics and milliseconds``."""
DISTANCE = "energy distance"
"""What the sampler of the teacher is chosen by."""


def measured(
    config: Config, model: Model, run: Run, params: Any, scorer: Scorer, num: int, seeds: Sequence[int]
) -> tuple[dict[str, list[float]], float]:
    """Mean and standard error over seeds of every metric of ``num`` samples, and milliseconds per sample.

    The metrics are the metrics of the data and the Fréchet distance to the training data. The time is the shortest of
    the draws after the first, which compiles.
    """
    generate = make_sampler(config, model, run.dataset, run.extras)
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    seconds, found = [], []
    flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1)
    train = flat(run.dataset.to_model(run.dataset.train["x"]))
    for seed in seeds if len(seeds) > 1 else [*seeds, *seeds]:
        start = time.monotonic()
        x = generate(params, seed, labels, config.sampling.guidance_scale)
        seconds.append(time.monotonic() - start)
        if len(found) < len(seeds):
            found.append({**scorer.samples(x, labels), "Fréchet": float(_frechet(train, flat(x)))})
    error = lambda values: float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    columns = {name: [row[name] for row in found] for name in found[0]}
    metrics = {name: [float(np.mean(values)), error(values)] for name, values in columns.items()}
    return metrics, 1e3 * min(seconds[1:]) / num


_frechet = jax.jit(metrics.frechet_distance)


def row(name: str, steps: int, config: Config, model: Model, scored: tuple[dict, float], **cost: Any) -> dict[str, Any]:
    """A row of the table, with further columns ``cost``."""
    metrics, milliseconds = scored
    return {"": name, "steps": steps, "calls": calls(config, model), "ms": milliseconds, **cost, "metrics": metrics}


def calls(config: Config, model: Model) -> int:
    """Network evaluations of a sample, a guided pair counting 2."""
    solver, ts = build_sampler(config, model.schedule)
    one = config.sampling.solver.name == "flow_map" or config.guidance[0] == "conditional"
    pair = not (one or guidance.is_plain(config, config.sampling.guidance_scale))
    return solver.evals_per_step * (len(ts) - 1) * (1 + pair)


def of_method(name: str, setting: methods.Setting, score: Score) -> list[dict[str, Any]]:
    """Trains one method; a row for each number of steps."""
    rows = []
    for ready in methods.METHODS[name](setting):
        scored = score(ready.config, ready.model, ready.trained.params)
        cost = {"updates": ready.trained.updates, "CPU seconds": round(ready.trained.seconds)}
        rows.append(row(name, ready.steps, ready.config, ready.model, scored, **cost))
    return rows


def of_teacher(
    setting: methods.Setting, score: Score, options: flags.FlagValues, tuned: Path | None = None
) -> list[dict[str, Any]]:
    """Rows of the teacher: with its own sampler, and with the best untuned sampler for each number of steps.

    With a folder ``tuned`` for its grids, also with the tuned sampler.
    """
    config, run = setting.config, setting.run
    candidates = [(config.sampling.steps, "teacher", iter([(config.sampling.solver.name, config)]))]
    for n in setting.steps:
        candidates.append((n, "teacher, untuned", teacher.untuned(config, n, options.solvers, options.grids)))
        if tuned is not None:
            path = tuned / f"tuned_{n}.json"
            candidates.append((n, "teacher, tuned", teacher.tuned(config, run, n, path, options.updates)))
    rows = []
    for n, name, chosen in candidates:
        scored = [(score(config, run.model, run.params), sampler, config) for sampler, config in chosen]
        found, sampler, best = min(scored, key=lambda item: item[0][0][DISTANCE][0])
        rows.append(row(f"{name} ({sampler})", n, best, run.model, found))
    return rows


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Writes the rows of a method as JSON and returns them."""
    write_atomic(folder / f"{name}.json", json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n")
    jax.clear_caches()  # of the programs of this method
    return rows


def make_score(run: Run, scorer: Scorer, options: flags.FlagValues) -> Score:
    """The measurements of ``options.num`` samples from each of ``options.seeds`` seeds."""
    seeds = range(options.seed, options.seed + options.seeds)
    return lambda config, model, params: measured(config, model, run, params, scorer, options.num, seeds)


def opened(config: Config, options: flags.FlagValues) -> tuple[methods.Setting, Scorer]:
    """The run of the teacher with the settings of a comparison, and the function that measures its samples."""
    run = open_run(config, as_path(options.workdir).absolute(), options.step, (config.sampling.guidance_scale,))
    if (scorer := run.dataset.scorer()) is None:
        given = f"--workdir={options.workdir}"
        raise ConfigError(f"{given}: its data must be images or points, they are {run.dataset.name}")
    return methods.Setting(config, run, options.seconds, [*map(int, options.steps)]), scorer


def run(config: Config, options: flags.FlagValues, folder: Path) -> Path:
    """Trains the chosen methods and prints their table, by default with rows of the teacher."""
    setting, scorer = opened(config, options)
    score, found = make_score(setting.run, scorer, options), []
    if options.teacher:
        tuned = folder if options.updates else None
        found += written(folder, "teacher", of_teacher(setting, score, options, tuned))
    for name in options.methods:
        print(f"{name} …", flush=True)
        found += written(folder, name, of_method(name, setting, score))
    print_table(found, scorer.caption)
    return folder


def print_table(rows: Sequence[dict[str, Any]], caption: str) -> None:
    """Prints the rows by number of steps, every metric with its standard error."""
    fields = [field for field in dict.fromkeys(field for row in rows for field in row) if field != "metrics"]
    names = list(rows[0]["metrics"])
    cells = lambda row: [f"{mean:.4f} ± {error:.4f}" for mean, error in (row["metrics"][name] for name in names)]
    order = sorted(rows, key=lambda row: (row["steps"], row["metrics"][DISTANCE][0]))
    lines = [[*(row.get(f) for f in fields), *cells(row)] for row in order]
    print(tables_as_text([Table([*fields, *names], lines, caption)]))

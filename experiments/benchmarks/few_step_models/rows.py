"""Rows of the table: metrics of samples with their standard errors, kept as JSON, one file for each method."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.few_step_models import methods, teacher
from experiments.cli.config import Config
from experiments.data.dataset import Scorer
from experiments.evaluation import kept_rows
from experiments.models import rules
from experiments.models.model import Model
from experiments.models.runs import Run
from experiments.models.sampling import build_sampler, make_sampler
from experiments.reporting.report import Table
from scorekit.io import write_atomic

DISTANCE = "energy distance"
"""What the sampler of the teacher is chosen by."""


def measured(config: Config, model: Model, run: Run, params: Any, scorer: Scorer, num: int, seeds: Sequence[int]):
    """Mean and standard error over seeds of every metric of ``num`` samples: ``{name: [mean, error]}``."""
    generate = make_sampler(config, model, run.dataset, run.extras)
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    scale = config.sampling.guidance_scale
    found = [scorer.samples(generate(params, seed, labels, scale), labels) for seed in seeds]
    error = lambda values: float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    columns = {name: [row[name] for row in found] for name in found[0]}
    return {name: [float(np.mean(values)), error(values)] for name, values in columns.items()}


def calls(config: Config, model: Model) -> int:
    """Network evaluations of a sample, a guided pair counting 2."""
    solver, ts = build_sampler(config, model.schedule)
    flow_map = config.sampling.solver.name == "flow_map"
    pair = not (flow_map or rules.is_plain(config, config.sampling.guidance_scale))
    return solver.evals_per_step * (len(ts) - 1) * (1 + pair)


def of_method(name: str, setting: methods.Setting, score: Callable[..., dict]) -> list[dict[str, Any]]:
    """Trains one method; a row for each number of steps."""
    rows = []
    for ready in methods.METHODS[name](setting):
        metrics = score(ready.config, ready.model, ready.trained.params)
        rows.append({
            "": name, "steps": ready.steps, "calls": calls(ready.config, ready.model),
            "updates": ready.trained.updates, "CPU seconds": round(ready.trained.seconds), "metrics": metrics,
        })  # fmt: skip
    return rows


def of_teacher(setting: methods.Setting, folder: Path, tuning: teacher.Tuning, score: Callable[..., dict]):
    """Rows of the teacher: with its own sampler, and in each number of steps the best untuned and the tuned one."""
    config, run = setting.config, setting.run
    candidates = [(config.sampling.steps, "teacher", iter([(config.sampling.solver.name, config)]))]
    for n in setting.steps:
        path = folder / f"tuned_{n}.json"
        candidates.append((n, "teacher, untuned", teacher.untuned(config, n)))
        if tuning.updates:
            candidates.append((n, "teacher, tuned", teacher.tuned(config, run, n, path, tuning)))
    rows = []
    for n, name, chosen in candidates:
        scored = [(score(config, run.model, run.params), sampler, config) for sampler, config in chosen]
        metrics, sampler, best = min(scored, key=lambda item: item[0][DISTANCE][0])
        rows.append({
            "": f"{name} ({sampler})", "steps": n, "calls": calls(best, run.model), "updates": 0, "CPU seconds": 0,
            "metrics": metrics,
        })  # fmt: skip
    return rows


def kept(folder: Path, name: str, facts: dict[str, Any], make: Callable[[], list[dict[str, Any]]]):
    """The rows in the file of this name; made and written if there is none.

    Raises:
      ConfigError: if they were made with other facts.
    """
    path = folder / f"{re.sub('[^a-z0-9_]+', '_', name.lower())}.json"
    if path.exists():
        found = json.loads(path.read_text())
        kept_rows.check_same(path, found["facts"], facts)
        return found["rows"]
    rows = make()
    write_atomic(path, json.dumps({"facts": facts, "rows": rows}, indent=1, ensure_ascii=False) + "\n")
    jax.clear_caches()  # of the programs of this method
    return rows


def table(rows: Sequence[dict[str, Any]], caption: str) -> Table:
    """The rows by number of steps, every metric with its standard error."""
    names = list(rows[0]["metrics"])
    cells = lambda row: [f"{mean:.4f} ± {error:.4f}" for mean, error in (row["metrics"][name] for name in names)]
    fields = ("", "steps", "calls", "updates", "CPU seconds")
    order = sorted(rows, key=lambda row: (row["steps"], row["metrics"][DISTANCE][0]))
    return Table([*fields, *names], [[*(row[f] for f in fields), *cells(row)] for row in order], caption)

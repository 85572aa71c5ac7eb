"""Before and after distillation: the teacher with its best few-step solver, and students, at equal steps.

For images and points. The teacher has the guidance of its config, and at every number of steps the solver and grid with
the smallest energy distance to the held-out data. A student is sampled with its own config, one of consistency
distillation and a flow map at every number of steps. *calls*: network evaluations per sample, where a guided pair
counts 2. *ms*: milliseconds per sample in batches of the config's size, compiled.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from experiments.benchmarks.few_steps import rows
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.models.choices import build_schedule
from experiments.models.runs import open_run
from experiments.training import distillation, flow_map_students, students


def recipe_of(folder: Path) -> dict[str, Any]:
    """The settings of a student, from its folder or, for a student of an earlier round, from the folder of the last."""
    return distillation.recipe_of(folder.parent.parent if folder.parent.name == "rounds" else folder)


def students_at(folder: Path, steps: list[int]) -> Iterator[tuple[int, Config, str]]:
    """The numbers of steps that a student is sampled with, its config for each, and its method."""
    config = base.saved(str(folder))
    schedule = build_schedule(config)
    method = recipe_of(folder)["config.distillation.method"]
    any_steps = method == "consistency" or method in flow_map_students.LOSSES
    for n in steps if any_steps else [config.sampling.steps]:
        changed = config.copy_and_resolve_references()
        changed.sampling.steps = n
        if n != config.sampling.steps and method == "consistency":
            first, *_, last = config.sampling.grid.times
            changed.sampling.grid.times = tuple(map(float, students.flow_grid(schedule, n, first, last)))
        yield n, changed, method


def run(config: Config, options: flags.FlagValues) -> str:
    """Prints the table of a teacher and its students."""
    setting, scorer = rows.opened(config, options)
    paths = [Path(folder).expanduser().absolute() for folder in options.students]
    for path in paths:
        if not recipe_of(path):
            raise ConfigError(f"--students={path}: there is no student here")
    found = rows.of_teacher(setting, rows.make_score(setting.run, scorer, options), options)
    for path in paths:
        for n, config, method in students_at(path, [*setting.steps]):
            student = open_run(config, path)
            scored = rows.make_score(student, scorer, options)(config, student.model, student.params)
            name = f"{method} ({config.sampling.solver.name})"
            found.append(rows.row(name, n, config, student.model, scored))
            print(f"{method}, {n} steps", flush=True)
    rows.print_table(found, scorer.caption)
    return "the table"

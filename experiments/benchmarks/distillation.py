"""Before and after distillation: the teacher with its best few-step solver, and students, at equal steps.

    python -m experiments.benchmarks.distillation --workdir=runs/digits --students=runs/digits_fast,runs/digits_1
    python -m experiments.benchmarks.distillation --workdir=runs/digits --students=runs/a,runs/a/rounds/4 --num=500

For images and points. The teacher has the guidance of its config, and at every number of steps the solver of
``--solvers`` and the grid of ``--grids`` with the smallest energy distance to the held-out data. A student is sampled
with its own config, one of consistency distillation and a flow map at every number of steps. *calls*: network
evaluations per sample, where a guided pair counts 2. *ms*: milliseconds per sample in batches of the config's size,
compiled, the best of three.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.benchmarks.few_step_models.teacher import with_sampling
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.models import rules
from experiments.models.choices import build_schedule
from experiments.models.runs import Run, open_run
from experiments.models.sampling import build_sampler, make_sampler
from experiments.reporting.report import Table, tables_as_text
from experiments.training import distillation, flow_map_students, students
from scorekit import metrics

_WORKDIR = shared.workdir("Folder of the teacher's run.")
_STUDENTS = flags.DEFINE_list("students", [], "Folders of students.")
_STEPS = flags.DEFINE_list("steps", ["1", "2", "4"], "Numbers of steps.")
_SOLVERS = flags.DEFINE_list("solvers", ["euler", "dpmpp_2m", "unipc"], "Solvers to choose from for the teacher.")
_GRIDS = flags.DEFINE_list("grids", ["vp_quadratic", "uniform"], "Grids to choose from for the teacher.")
_NUM = shared.count("num", 1500, "Samples of each.", 10)
_SEED = flags.DEFINE_integer("seed", 1, "Seed of the noise.")


class Drawn(NamedTuple):
    """Samples, their cost, and the sampler that drew them.

    Attributes:
      samples: as data.
      calls: network evaluations per sample.
      milliseconds: per sample.
      sampler: its name.
    """

    samples: np.ndarray
    calls: int
    milliseconds: float
    sampler: str


def draw(run: Run, config: Config, labels: np.ndarray, seed: int, timed: bool = True) -> Drawn:
    """Samples of a run with the sampler of ``config``."""
    scale = config.sampling.guidance_scale
    generate = make_sampler(config, run.model, run.dataset, run.extras)
    samples = generate(run.params, seed, labels, scale)
    seconds = []
    for _ in range(3 * timed):
        start = time.monotonic()
        generate(run.params, seed, labels, scale)
        seconds.append(time.monotonic() - start)
    solver, ts = build_sampler(config, run.model.schedule)
    pair = not rules.is_plain(config, scale) and config.guidance[0] != "conditional"
    calls = solver.evals_per_step * (len(ts) - 1) * (1 + pair)
    return Drawn(samples, calls, 1e3 * min(seconds, default=np.nan) / len(labels), config.sampling.solver.name)


def best_of_teacher(run: Run, config: Config, labels: np.ndarray, seed: int, steps: int) -> Drawn:
    """Samples of the teacher with the solver and grid that have the smallest distance to the held-out data."""
    flat = lambda x: jnp.asarray(x).reshape(len(x), -1)
    held_out = flat(run.dataset.to_model(run.dataset.test["x"]))
    distance = jax.jit(metrics.energy_distance)
    found = []
    for solver in _SOLVERS.value if steps > 1 else _SOLVERS.value[:1]:  # the first step is Euler's
        for grid in _GRIDS.value if steps > 1 else _GRIDS.value[:1]:
            chosen = with_sampling(config, solver, grid, steps)
            samples = draw(run, chosen, labels, seed, timed=False).samples
            found.append((float(distance(held_out, flat(samples))), f"{solver}, {grid}", chosen))
    _, name, chosen = min(found, key=lambda item: item[0])
    return draw(run, chosen, labels, seed)._replace(sampler=name)


def recipe_of(folder: Path) -> dict[str, Any]:
    """The settings of a student, from its folder or, for one of an earlier round, from that of the last."""
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


def main(config: Config) -> None:
    start = time.monotonic()
    steps = shared.step_counts("steps", _STEPS.value, "1,2,4")
    folders = [Path(folder).expanduser().absolute() for folder in _STUDENTS.value]
    for folder in folders:
        if not recipe_of(folder):
            raise ConfigError(f"--students={folder}: there is no student here")
    run = open_run(config, shared.path(_WORKDIR), None, (config.sampling.guidance_scale,))
    labels = np.arange(_NUM.value, dtype=np.int32) % run.dataset.num_classes
    scorer = run.dataset.scorer()
    if scorer is None:
        raise ConfigError(f"--workdir={_WORKDIR.value}: its data must be images or points, they are {run.dataset.name}")
    flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1)
    train = jnp.asarray(flat(run.dataset.to_model(run.dataset.train["x"])))
    frechet = jax.jit(metrics.frechet_distance)
    rows = []

    def add(name, n, drawn):
        scores = {**scorer.samples(drawn.samples, labels), "Fréchet": float(frechet(train, flat(drawn.samples)))}
        cost = {"ms": drawn.milliseconds, "sampler": drawn.sampler}
        rows.append({"": name, "steps": n, "calls": drawn.calls, **scores, **cost})
        print(f"{name}, {n} steps", flush=True)

    add("teacher", config.sampling.steps, draw(run, config, labels, _SEED.value))
    for n in steps:
        add("teacher", n, best_of_teacher(run, config, labels, _SEED.value, n))
    for folder in folders:
        for n, chosen, method in students_at(folder, steps):
            add(method, n, draw(open_run(chosen, folder), chosen, labels, _SEED.value))
    rows = sorted(rows, key=lambda row: (-(row["steps"] not in steps), row["steps"]))
    table = Table(list(rows[0]), [list(row.values()) for row in rows], scorer.caption)
    print(tables_as_text([table]))
    print(progress.final_line("the table", time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)

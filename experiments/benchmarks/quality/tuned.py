"""Gains of tuning at equal cost: untuned grids, a tuned grid, and a tuned grid with tuned solver coefficients.

All arithmetic is float32. Errors are distances to the end of a fine solution from ``sigma / alpha = 80`` to clean data,
over test draws that are used neither for tuning nor for selection; a few of them end in another mode and dominate the
RMSE, so the median is given as well. An untuned error is the error of the grid that is best on the test draws. Tuning
starts from the two grids that are best on the validation draws; tuning of the coefficients also starts from the tuned
grid.
"""

import functools
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import flags

from experiments.benchmarks.quality.problems import GRIDS, Errors, Problem, exact_problem, trained_problem
from experiments.cli.config import ConfigError
from experiments.cli.endings import one_line
from experiments.cli.flags import chosen
from experiments.cli.progress import duration
from experiments.reporting.curves import Panel, curves, lines, scale
from scorekit.solvers import AdamsBashforth, DPMSolverPP2M, Euler, ExponentialAdamsBashforth, UniPC
from scorekit.tuning import Pairs, distances, fine_pairs, tune
from scorekit.typing import Array, Solver

SOLVERS: Mapping[str, Solver] = {
    "Euler": Euler(),
    "DPM++2M": DPMSolverPP2M(),
    "AB2": AdamsBashforth(order=2),
    "AB3": AdamsBashforth(order=3),
    "AB4": AdamsBashforth(order=4),
    "EAB3": ExponentialAdamsBashforth(order=3),
    "UniPC2": UniPC(predictor=2),
    "UniPC2 flow": UniPC(predictor=2, coordinate="flow"),
}
EXACT = {"ring": ("ring of 8 modes, 2-d", 256), "low_rank": ("low-rank mixture, 64-d", 128)}
"""Title and batch size of the exact denoisers, by their names in :data:`.problems.DATA`."""
KINDS = ("untuned", "grid", "grid and coefficients")
Cells = Mapping[tuple[str, int], dict[str, Errors]]
"""The errors over the test draws of each kind, by solver and evaluations."""


def opened(name: str | None, options: flags.FlagValues) -> tuple[str, Problem]:
    """The title of a problem and the problem; without a name the run of ``--digits``."""
    if name is not None:
        title, batch = EXACT[name]
        return title, exact_problem(name, "edm", batch)
    with one_line():
        return "trained digits", trained_problem(options.digits, 64)


def draw_pairs(problem: Problem, draws: int) -> tuple[Pairs, Pairs, Pairs]:
    """Pairs for tuning, selection and testing."""
    batches, like = draws // len(problem.x_init), problem.x_init
    draw = functools.partial(fine_pairs, denoiser=problem.denoiser, schedule=problem.schedule, like=like)
    counts = (batches, max(1, batches // 4), batches)
    train, held_out, test = (draw(jax.random.key(i), batches=n, t_max=problem.top) for i, n in enumerate(counts))
    return train, held_out, test


@jax.jit
def measure(denoiser, schedule, solver: Solver, ts: Array, pairs: Pairs) -> tuple[Array, Array]:
    """RMSE and median over all pairs."""
    each = jax.lax.map(lambda pair: distances(denoiser, schedule, solver, ts, *pair), pairs)
    return jnp.sqrt(jnp.mean(jnp.square(each))), jnp.median(each)


def errors_of(
    problem: Problem, pairs: tuple[Pairs, Pairs, Pairs], solver: Solver, n: int, options: flags.FlagValues
) -> tuple[dict[str, Errors], list[str]]:
    """The errors of each kind in n evaluations, and the names of the untuned grids with the least ones."""
    train, held_out, test = pairs
    measured = lambda solver, ts: Errors(*map(float, measure(problem.denoiser, problem.schedule, solver, ts, test)))
    starts = {grid: problem.times(grid, n) for grid in GRIDS}
    untuned = {grid: measured(solver, ts) for grid, ts in starts.items()}
    names = [min(untuned, key=lambda grid, kind=kind: untuned[grid][kind]) for kind in range(2)]
    found = {"untuned": Errors(untuned[names[0]].rmse, untuned[names[1]].median)}
    given = {"starts": options.starts, "power": options.power, "steps": options.steps}
    for kind in KINDS[1:]:
        coefficients = kind != "grid"
        tuned = tune(
            problem.denoiser, problem.schedule, solver, starts, train, held_out, coefficients=coefficients, **given
        )
        starts["tuned"] = tuned.ts
        found[kind] = measured(tuned.solver, tuned.ts)
    return found, names


def show_table(title: str, nfes: list[int], cells: Cells) -> None:
    """Prints RMSE and median of all cells, and the ratio of the best tuned error to the best untuned error."""
    solvers = list(dict.fromkeys(solver for solver, _ in cells))
    for field in Errors._fields[:2]:
        value = lambda solver, n, kind, field=field: getattr(cells[solver, n][kind], field)
        print(f"\n{title}: {field}, untuned -> grid tuned -> grid and coefficients tuned")
        print(f"{'NFE':10}" + "".join(f"{n:^29}" for n in nfes))
        for solver in solvers:
            row = ("  ".join(f"{value(solver, n, kind):7.1e}" for kind in KINDS) for n in nfes)
            print(f"{solver:10}" + "".join(f"{cell:29}" for cell in row))
        for kind in KINDS:
            best = [min((value(solver, n, kind), solver) for solver in solvers) for n in nfes]
            first = [min(value(solver, n, "untuned") for solver in solvers) for n in nfes]
            row = (f"{b:.1e} {s} (x {b / a:.2f})" for (b, s), a in zip(best, first, strict=True))
            print(f"best, {kind:22}" + "  ".join(f"{cell:27}" for cell in row))


def run(options: flags.FlagValues, out: Path) -> Path:
    """Prints the tables of all problems and plots their medians."""
    nfes, solvers = [int(n) for n in options.nfe], chosen("solvers", options.solvers, SOLVERS)
    if options.samples < 256:
        raise ConfigError(f"--samples={options.samples}: must be at least 256")
    names = [*options.problems, *([None] if options.digits else [])]
    panels = {}
    jobs = [(solver, n) for solver in solvers for n in nfes]
    for i, name in enumerate(names):
        (title, problem), cells = opened(name, options), {}
        pairs, start = draw_pairs(problem, options.samples), time.monotonic()
        for j, (solver, n) in enumerate(jobs, start=1):
            cells[solver, n], (by_rmse, by_median) = errors_of(problem, pairs, SOLVERS[solver], n, options)
            left = (time.monotonic() - start) / j * (len(jobs) - j)
            print(
                f"problem {i + 1}/{len(names)}, cell {j}/{len(jobs)}: {solver} at {n}; best untuned grids: "
                f"{by_rmse} (RMSE), {by_median} (median)" + (f"; ETA {duration(left)}" if left else ""),
                file=sys.stderr,
                flush=True,
            )
        show_table(title, nfes, cells)
        panels[title] = {
            f"{solver}, {kind}": [cells[solver, n][kind].median for n in nfes] for solver in solvers for kind in KINDS
        }
    ylabel = "median distance to the fine solution"
    log = {"yscale": scale(*(values for panel in panels.values() for values in panel.values()))}
    draw = lambda title, panel: Panel(lines(nfes, panel), "network evaluations", ylabel, title, axes=log)
    return curves(out, [draw(title, panel) for title, panel in panels.items()], share=True)

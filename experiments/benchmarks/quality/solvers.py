"""Every solver on every grid.

Deterministic solvers: the error against the exact probability-flow map from the same noise, as RMSE over all samples
and as the median over samples of the RMSE of one sample (in 64 dimensions a few samples that end in another mode
dominate the RMSE). Stochastic solvers: the sliced Wasserstein distance to exact samples, with the noise floor of two
exact sets. Pairs (solver, grid) are ranked by the geometric mean, over the problems and both errors, of the error
divided by the error of the best pair at the same number of evaluations. One of them is
:func:`scorekit.samplers.recommended`.
"""

import functools
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments.benchmarks.named_solvers import DETERMINISTIC, STOCHASTIC
from experiments.benchmarks.quality.problems import (
    DATA,
    GRIDS,
    MAX_STEPS,
    Errors,
    Problem,
    exact_problem,
    trained_problem,
)
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.cli.flags import chosen
from experiments.reporting.curves import Panel, curves, lines, scale
from scorekit.metrics import sliced_wasserstein

Cells = dict[tuple[str, str, int], Errors]
"""Errors by solver, grid and evaluations."""


def deterministic_cells(problem: Problem, names: list[str], grids: list[str], nfes: list[int]) -> Cells:
    """Every solver on every grid, and the recommended pair on its own."""
    cells = {("recommended", "its grid", n): problem.error(*problem.recommended(n)) for n in nfes}
    for name, grid, nfe in itertools.product(names, grids, nfes):
        solver = DETERMINISTIC[name]
        cells[name, grid, nfe] = problem.error(solver, problem.times(grid, max(1, nfe // solver.evals_per_step)))
    return cells


def distances(problem: Problem, names: list[str], grids: list[str], nfes: list[int], samples: int):
    """The sliced Wasserstein distances of the stochastic solvers, and the noise floor."""
    if problem.data is None:
        raise ValueError("problem must have exact data")
    keys = jax.random.split(jax.random.key(1), 5)
    exact = problem.data.sample(keys[0], (samples,))
    distance = jax.jit(lambda x: sliced_wasserstein(keys[2], x, exact))
    x_init = problem.schedule.sigma(problem.top) * jax.random.normal(keys[3], exact.shape)
    found = {}
    for name, grid, nfe in itertools.product(names, grids, nfes):
        n = max(1, nfe // STOCHASTIC[name](1).evals_per_step)
        found[name, grid, nfe] = float(
            distance(problem.run(STOCHASTIC[name](n), problem.times(grid, n), keys[4], x_init))
        )
    others = [distance(problem.data.sample(key, (samples,))) for key in jax.random.split(keys[1], 8)]
    return found, float(np.mean(others))


def rank(tables: Sequence[Cells], nfes: Sequence[int]) -> dict[tuple[str, str], float]:
    """The geometric mean of the error over the smallest error, for pairs that all tables have; best first."""
    pairs = {(s, g) for s, g, _ in tables[0] if all((s, g, n) in cells for cells in tables for n in nfes)}
    logs: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for cells, nfe, kind in itertools.product(tables, nfes, range(2)):
        values = {pair: cells[*pair, nfe][kind] for pair in pairs}
        best = min(values.values())
        for pair, value in values.items():
            logs[pair].append(math.log(value / best) if value > 0 else 0.0)
    factors = {pair: math.exp(np.mean(log)) for pair, log in logs.items()}
    return dict(sorted(factors.items(), key=lambda item: item[1]))


# ---- output --------------------------------------------------------------------------------------------------------


def short(value: float) -> str:
    """Two significant digits; "-" for values that are not finite or above 1,000.

    >>> [short(v) for v in (0.1234, 0.00123, 12.3, math.inf)]
    ['0.12', '1.2e-3', '12', '-']
    """
    if not math.isfinite(value) or value > 1e3:
        return "-"
    return f"{value:.2g}" if value >= 0.1 else re.sub("e-0", "e-", f"{value:.1e}")


def print_table(title: str, nfes: list[int], cells: Mapping[Any, Any], *blocks: Callable[[Any], float]) -> None:
    """Blocks of columns by NFE, one row per solver and grid."""
    line = lambda name, cells: f"{name:38}" + " |".join("".join(f"{cell:>8}" for cell in block) for block in cells)
    print(f"\n{title}\n{line('NFE', [nfes] * len(blocks))}")
    for solver, grid in dict.fromkeys(key[:2] for key in cells):
        print(line(f"{solver} [{grid}]", [[short(value(cells[solver, grid, n])) for n in nfes] for value in blocks]))


def draw(path: Path, tables: dict[str, Cells], swd: dict[str, tuple[dict, float]], nfes: list[int]) -> None:
    """Plots the error against evaluations, each solver on its best grid."""

    def best(cells: dict, value: Callable[[Any], float]) -> dict[str, list[float]]:
        of = lambda s, n: min(value(cell) for key, cell in cells.items() if (key[0], key[2]) == (s, n))
        return {s: [of(s, n) for n in nfes] for s in dict.fromkeys(name for name, _, _ in cells)}

    panels = {}
    for name, cells in tables.items():
        panels[f"{name}: RMSE to {'the exact flow' if name in DATA else 'a fine solution'}"] = best(
            cells, lambda cell: cell.rmse
        )
    for name, (found, floor) in swd.items():
        exact = {"two exact sets": [floor] * len(nfes)}
        panels[f"{name}: sliced Wasserstein distance to exact samples"] = best(found, float) | exact
    ylabel = "error on the best grid (data std = 1; digits: pixels in [-1, 1])"
    log = {"xscale": "log", "yscale": scale(*(values for panel in panels.values() for values in panel.values()))}
    draw = lambda title, panel: Panel(lines(nfes, panel), "network evaluations", ylabel, title, axes=log)
    curves(path, [draw(title, panel) for title, panel in panels.items()], share=True)


def run(options: flags.FlagValues, path: Path) -> None:
    """Prints the tables and plots the errors."""
    names = chosen("solvers", options.solvers, [*DETERMINISTIC, *STOCHASTIC])
    deterministic, stochastic = ([name for name in table if name in names] for table in (DETERMINISTIC, STOCHASTIC))
    grids = [grid for grid in GRIDS if grid in chosen("grids", options.grids, GRIDS)]
    nfes = sorted(shared.all_of("nfe", options.nfe, int, lambda n: 1 <= n <= MAX_STEPS, f"from 1 to {MAX_STEPS}"))
    makers = {n: functools.partial(exact_problem, n, options.schedule, options.samples) for n in options.problems}
    if options.digits:
        makers["digits"] = functools.partial(trained_problem, options.digits, min(options.samples, 128))
    tables: dict[str, Cells] = {}
    swd: dict[str, tuple[dict, float]] = {}
    for name, make in makers.items():
        with jax.enable_x64(name != "digits"), one_line():
            problem = make()
            cells = tables[name] = deterministic_cells(problem, deterministic, grids, nfes)
            title = f"{name}, schedule {'of the run' if problem.data is None else options.schedule}"
            of_kinds = lambda cell: cell.rmse, lambda cell: cell.median
            print_table(f"{title}: RMSE | median of a sample's RMSE", nfes, cells, *of_kinds)
            if problem.data is not None and stochastic:
                draws = options.samples * max(1, 32 // problem.data.dim)
                found, floor = swd[name] = distances(problem, stochastic, grids, nfes, draws)
                of = f"two exact sets: {short(floor)}"
                print_table(f"{title}: sliced Wasserstein distance ({of})", nfes, found, float)
    bands = {f"NFE {n}": [n] for n in nfes}
    bands |= {"below 20 NFE": [n for n in nfes if n < 20], "from 20 NFE": [n for n in nfes if n >= 20]}
    for band, members in bands.items():
        if members and deterministic:
            ranks = list(rank(list(tables.values()), members).items())
            shown = [item for i, item in enumerate(ranks) if i < 8 or item[0][0] == "recommended"]
            best = [f"{s} [{g}] {factor:.2f}" for (s, g), factor in shown]
            print(f"\nrank at {band} (factor over the best cell): " + ", ".join(best))
    draw(path, tables, swd, nfes)
    print(f"\nplot: {path}")

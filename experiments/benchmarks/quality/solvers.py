"""Every solver on every grid, compared with other packages.

Deterministic solvers: the error against the exact probability-flow map from the same noise, as RMSE over all samples
and as the median over samples of the RMSE of one sample (in 64 dimensions a few samples that end in another mode
dominate the RMSE). Stochastic solvers: the sliced Wasserstein distance to exact samples, with the noise floor of two
exact sets. Pairs (solver, grid) are ranked by the geometric mean, over the problems and both errors, of the error
divided by that of the best pair at the same number of evaluations. One of them is
:func:`scorekit.samplers.recommended`.
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags

from experiments.benchmarks.quality import peers
from experiments.benchmarks.quality.problems import (
    DATA,
    GRIDS,
    MAX_STEPS,
    Errors,
    Problem,
    errors,
    exact_problem,
    run_solver,
    trained_problem,
)
from experiments.cli.endings import one_line
from experiments.reporting import curves
from scorekit import solvers
from scorekit.metrics import sliced_wasserstein
from scorekit.samplers import recommended

DETERMINISTIC = {
    "DDIM": solvers.Euler(),
    "Heun flow": solvers.Heun(),
    "Heun sigma": solvers.Heun(coordinate="sigma"),
    "midpoint flow": solvers.Midpoint(),
    "RK4 flow": solvers.RK4(),
    "DPM++2S": solvers.DPMSolver(order=2),
    "DPM++3S": solvers.DPMSolver(order=3),
    "DPM++2M": solvers.DPMSolverPP2M(),
    "DPM++3M": solvers.DPMSolverPP3M(),
    "EAB3 x0": solvers.ExponentialAdamsBashforth(order=3, prediction="x0"),
    "EAB2 eps": solvers.ExponentialAdamsBashforth(order=2),
    "EAB3 eps": solvers.ExponentialAdamsBashforth(order=3),
    "EAB4 eps": solvers.ExponentialAdamsBashforth(order=4),
    "tAB-DEIS3": solvers.deis(3),
    "AB2 flow": solvers.AdamsBashforth(order=2),
    "AB3 flow": solvers.AdamsBashforth(order=3),
    "AB4 flow": solvers.AdamsBashforth(order=4),
    "AB3 angle": solvers.AdamsBashforth(order=3, coordinate="angle"),
    "LMS4": solvers.linear_multistep(4),
    "iPNDM4": solvers.IPNDM(),
    "UniPC1": solvers.UniPC(predictor=1),
    "UniPC2": solvers.UniPC(predictor=2),
    "UniPC3": solvers.UniPC(predictor=3),
    "UniPC1 flow": solvers.UniPC(predictor=1, coordinate="flow"),
    "UniPC3 flow": solvers.UniPC(predictor=3, coordinate="flow"),
    "UniPC2 flow": solvers.UniPC(predictor=2, coordinate="flow"),
}
STOCHASTIC = {
    "DDPM": lambda n: solvers.Ancestral(),
    "Euler-Maruyama": lambda n: solvers.EulerMaruyama(clock="log_snr"),
    "reverse diffusion": lambda n: solvers.ReverseDiffusion(),
    "DPM++2M SDE": lambda n: solvers.DPMSolverPP2MSDE(),
    "DPM++3M SDE": lambda n: solvers.DPMSolverPP3MSDE(),
    "SA3": lambda n: solvers.SASolver(steps=3),
    "EDM churn": solvers.edm_stochastic,
    "AB3 flow (ODE)": lambda n: solvers.AdamsBashforth(),
}
PUBLISHED = {("DPM++2M", "karras7 .002"): "k-diffusion DPM++2M"}

Cells = dict[tuple[str, str, int], Errors]
"""By solver, grid and evaluations."""


def deterministic_cells(problem: Problem, names: list[str], grids: list[str], nfes: list[int], others) -> Cells:
    """Every solver, and every sampler of another package, on every grid; and the recommended pair on its own."""
    cells: Cells = {}
    top = problem.times("VP t", 1)[0]
    for nfe in nfes:
        solver, times = recommended(problem.schedule, nfe, t_max=top)
        cells["recommended", "its grid", nfe] = errors(
            run_solver(None, problem.denoiser, problem.schedule, solver, problem.x_init, times), problem.reference
        )
    for name in names:
        solver = DETERMINISTIC[name]
        for grid in grids:
            for nfe in nfes:
                times = problem.times(grid, max(1, nfe // solver.evals_per_step))
                x = run_solver(None, problem.denoiser, problem.schedule, solver, problem.x_init, times)
                cells[name, grid, nfe] = errors(x, problem.reference)
    for name, peer in others.items():
        for grid in peer.grids or grids:
            for nfe in nfes:
                times = problem.times(grid, peer.steps(nfe))
                alpha, sigma = problem.schedule.alpha(times), problem.schedule.sigma(times)
                x = peer.solve(problem, np.asarray(problem.x_init / alpha[0]), np.asarray(sigma / alpha))
                cells[name, grid, nfe] = errors(x, problem.reference)
    return cells


def distances(problem: Problem, names: list[str], grids: list[str], nfes: list[int], samples: int):
    """The sliced Wasserstein distances of the stochastic solvers, and the noise floor."""
    if problem.data is None:
        raise ValueError("problem must have exact data")
    keys = jax.random.split(jax.random.key(1), 5)
    exact = problem.data.sample(keys[0], (samples,))
    distance = jax.jit(lambda x: sliced_wasserstein(keys[2], x, exact))
    x_init = problem.schedule.sigma(problem.times(grids[0], 2)[0]) * jax.random.normal(keys[3], exact.shape)
    found = {}
    for name in names:
        for grid in grids:
            for nfe in nfes:
                n = max(1, nfe // STOCHASTIC[name](1).evals_per_step)
                times = problem.times(grid, n)
                x = run_solver(keys[4], problem.denoiser, problem.schedule, STOCHASTIC[name](n), x_init, times)
                found[name, grid, nfe] = float(distance(x))
    others = [distance(problem.data.sample(key, (samples,))) for key in jax.random.split(keys[1], 8)]
    return found, float(np.mean(others))


def rank(tables: Sequence[Cells], nfes: Sequence[int]) -> dict[tuple[str, str], float]:
    """The geometric mean of the error over the smallest error, for pairs that all tables have; best first."""
    pairs = {(s, g) for s, g, _ in tables[0] if all((s, g, n) in cells for cells in tables for n in nfes)}
    logs: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for cells in tables:
        for nfe in nfes:
            for kind in range(2):
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


def print_table(title: str, nfes: list[int], rows: dict[tuple[str, str], list[list[float]]]) -> None:
    """Blocks of columns by NFE, one row per solver and grid."""
    blocks = len(next(iter(rows.values())))
    print(f"\n{title}\n{'NFE':38}" + " |".join("".join(f"{n:>8}" for n in nfes) for _ in range(blocks)))
    for (solver, grid), values in rows.items():
        note = f"{solver} [{grid}]" + (" *" if (solver, grid) in PUBLISHED else "")
        print(f"{note:38}" + " |".join("".join(f"{short(v):>8}" for v in block) for block in values))


def draw(path: Path, tables: dict[str, Cells], swd: dict[str, tuple[dict, float]], nfes: list[int]) -> None:
    """Plots the error against evaluations, each solver on its best grid."""

    def best(cells: dict, value: Callable[[Any], float]) -> dict[str, list[float]]:
        names = dict.fromkeys(name for name, _, _ in cells)
        return {
            s: [min(value(c) for key, c in cells.items() if (key[0], key[2]) == (s, n)) for n in nfes] for s in names
        }

    panels = {
        f"{name}: RMSE to {'the exact flow' if name in DATA else 'a fine solution'}": best(
            cells, lambda cell: cell.rmse
        )
        for name, cells in tables.items()
    }
    for name, (found, floor) in swd.items():
        exact = {"two exact sets": [floor] * len(nfes)}
        panels[f"{name}: sliced Wasserstein distance to exact samples"] = best(found, float) | exact
    ylabel = "error on the best grid (data std = 1; digits: pixels in [-1, 1])"
    curves.panels(path, nfes, panels, xlabel="network evaluations", ylabel=ylabel, log_x=True)


def chosen(flag: str, names: list[str], *allowed: dict) -> list[list[str]]:
    """The names that a flag holds, by the table that has them.

    Raises:
      UsageError: for a name that no table has.
    """
    every = [name for table in allowed for name in table]
    names = every if names == ["all"] else names
    for name in names:
        if name not in every:
            raise app.UsageError(f"--{flag}: {name!r} is not one of {', '.join(every)}")
    return [[name for name in table if name in names] for table in allowed]


def run(options: flags.FlagValues, path: Path) -> None:
    """Prints the tables and plots the errors."""
    deterministic, stochastic = chosen("solvers", options.solvers, DETERMINISTIC, STOCHASTIC)
    (grids,), names = chosen("grids", options.grids, GRIDS), options.problems
    nfes = sorted(map(int, options.nfe))
    if not nfes or nfes[0] < 1 or nfes[-1] > MAX_STEPS:
        raise app.UsageError(f"--nfe: must lie in 1 to {MAX_STEPS}, got {options.nfe}")
    others = peers.load() if options.peers else {}
    makers = {name: functools.partial(exact_problem, name, options.schedule, options.samples) for name in names}
    if options.digits:
        makers["digits"] = functools.partial(trained_problem, options.digits, min(options.samples, 128))
    tables: dict[str, Cells] = {}
    swd: dict[str, tuple[dict, float]] = {}
    for name, make in makers.items():
        with jax.enable_x64(name != "digits"), one_line():
            problem = make()
            cells = tables[name] = deterministic_cells(
                problem, deterministic, grids, nfes, others if problem.data else {}
            )
            rows = {
                (s, g): [[cells[s, g, n][kind] for n in nfes] for kind in range(2)]
                for s, g in dict.fromkeys(key[:2] for key in cells)
            }
            title = f"{name}, schedule {options.schedule if problem.data else 'of the run'}"
            print_table(f"{title}: RMSE | median of a sample's RMSE", nfes, rows)
            if problem.data is not None and stochastic:
                draws = options.samples * max(1, 32 // problem.data.dim)
                found, floor = swd[name] = distances(problem, stochastic, grids, nfes, draws)
                rows = {pair: [[found[*pair, n] for n in nfes]] for pair in dict.fromkeys(key[:2] for key in found)}
                print_table(f"{title}: sliced Wasserstein distance (two exact sets: {short(floor)})", nfes, rows)
    for (solver, grid), package in PUBLISHED.items():
        if solver in deterministic and grid in grids:
            print(f"\n* {solver} [{grid}] is {package}")
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

"""Quality per network evaluation: every solver on every grid, compared with other packages.

    python -m experiments.benchmarks.quality --workdir=runs/quality
    python -m experiments.benchmarks.quality --solvers=all --grids=all              # 15 minutes on 2 cores
    python -m experiments.benchmarks.quality --problems= --digits=runs/digits      # a trained network

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
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags
from matplotlib.figure import Figure

from experiments.benchmarks import peers
from experiments.benchmarks.problems import (
    DATA,
    GRIDS,
    MAX_STEPS,
    SCHEDULES,
    Problem,
    exact_problem,
    run,
    trained_problem,
)
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.reporting import plots
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

_PROBLEMS = flags.DEFINE_list("problems", ["ring", "low_rank"], f"which of {', '.join(DATA)}")
_SOLVERS = flags.DEFINE_list(
    "solvers",
    "DDIM,Heun flow,DPM++2M,EAB3 eps,AB2 flow,AB3 flow,AB4 flow,AB3 angle,UniPC2,UniPC3,UniPC2 flow,"
    "DDPM,DPM++2M SDE,SA3,EDM churn",
    f"which of {'; '.join([*DETERMINISTIC, *STOCHASTIC])}; or all",
)
_GRIDS = flags.DEFINE_list(
    "grids", ["karras7 .002", "logsnr .03", "VP t^2", "VP t^3", "flow t"], f"which of {', '.join(GRIDS)}; or all"
)
_NFE = flags.DEFINE_list("nfe", ["5", "8", "10", "20", "50", "100"], "network evaluations")
_SAMPLES = flags.DEFINE_integer("samples", 512, "samples; in two dimensions 16 times as many for the distances")
_SCHEDULE = flags.DEFINE_enum("schedule", "edm", list(SCHEDULES), "of the exact denoisers; noise levels are the same")
_DIGITS = flags.DEFINE_string("digits", None, "folder of a trained run, to measure its network too")
_PEERS = flags.DEFINE_bool("peers", True, "measure other packages as well, where they are installed")
_WORKDIR = shared.out("folder for the plot", "runs/quality", "workdir")


class Errors(NamedTuple):
    """RMSE of one cell: over all samples, and the median over samples."""

    rmse: float
    median: float


Cells = dict[tuple[str, str, int], Errors]
"""By solver, grid and evaluations."""


def errors(x, reference: np.ndarray) -> Errors:
    """The errors of samples; inf where they are not finite."""
    with np.errstate(all="ignore"):
        each = np.mean(np.square(np.asarray(x, float) - reference).reshape(len(reference), -1), axis=1)
    each = np.where(np.isfinite(each), each, np.inf)
    return Errors(math.sqrt(each.mean()), math.sqrt(np.median(each)))


def deterministic_cells(problem: Problem, names: list[str], grids: list[str], nfes: list[int], others) -> Cells:
    """Every solver, and every sampler of another package, on every grid; and the recommended pair on its own."""
    cells: Cells = {}
    top = problem.times("VP t", 1)[0]
    for nfe in nfes:
        solver, times = recommended(problem.schedule, nfe, t_max=top)
        cells["recommended", "its grid", nfe] = errors(
            run(None, problem.denoiser, problem.schedule, solver, problem.x_init, times), problem.reference
        )
    for name in names:
        solver = DETERMINISTIC[name]
        for grid in grids:
            for nfe in nfes:
                times = problem.times(grid, max(1, nfe // solver.evals_per_step))
                x = run(None, problem.denoiser, problem.schedule, solver, problem.x_init, times)
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
                x = run(keys[4], problem.denoiser, problem.schedule, STOCHASTIC[name](n), x_init, times)
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
    panels = len(tables) + len(swd)
    figure = Figure(figsize=(5 * panels, 6.5), layout="constrained")
    axes = iter(figure.subplots(1, panels, squeeze=False)[0])
    unit = {name: "data std = 1" if name in DATA else "pixels in [-1, 1]" for name in tables}
    lines = [
        (
            f"{name}: error to {'the exact flow' if name in DATA else 'a fine solution'}",
            f"RMSE ({unit[name]})",
            cells,
            None,
        )
        for name, cells in tables.items()
    ]
    lines += [
        (f"{name}: distance to exact samples", "sliced Wasserstein distance (data std = 1)", found, floor)
        for name, (found, floor) in swd.items()
    ]
    for title, label, cells, floor in lines:
        ax = next(axes)
        value = lambda cell: cell.rmse if isinstance(cell, Errors) else cell
        for i, solver in enumerate(dict.fromkeys(name for name, _, _ in cells)):
            best = [min(value(c) for (s, _, n), c in cells.items() if s == solver and n == nfe) for nfe in nfes]
            style = "os^vD"[i % 5] + ("--" if i >= 10 else "-")
            ax.loglog(nfes, best, style, color=f"C{i % 10}", markersize=4, label=solver)
        if floor is not None:
            ax.axhline(floor, color="grey", linestyle=":", label="two exact sets")
        ax.set(title=f"{title} (best grid)", xlabel="network evaluations", ylabel=label)
        ax.set_xticks(nfes, [str(n) for n in nfes])
        ax.set_xticks([], minor=True)
        ax.grid(alpha=0.25)
        ax.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    plots.save(figure, path)


def chosen(flag, *allowed: dict) -> list[list[str]]:
    """The names that a flag holds, by the table that has them.

    Raises:
      UsageError: for a name that no table has.
    """
    every = [name for table in allowed for name in table]
    names = every if flag.value == ["all"] else flag.value
    for name in names:
        if name not in every:
            raise app.UsageError(f"--{flag.name}: {name!r} is not one of {', '.join(every)}")
    return [[name for name in table if name in names] for table in allowed]


def main(_) -> None:
    deterministic, stochastic = chosen(_SOLVERS, DETERMINISTIC, STOCHASTIC)
    (grids,), (names,) = chosen(_GRIDS, GRIDS), chosen(_PROBLEMS, DATA)
    nfes = sorted(map(int, _NFE.value))
    if not nfes or nfes[0] < 1 or nfes[-1] > MAX_STEPS:
        raise app.UsageError(f"--nfe: must lie in 1 to {MAX_STEPS}, got {_NFE.value}")
    others = peers.load() if _PEERS.value else {}
    makers = {name: functools.partial(exact_problem, name, _SCHEDULE.value, _SAMPLES.value) for name in names}
    if _DIGITS.value:
        makers["digits"] = functools.partial(trained_problem, _DIGITS.value, min(_SAMPLES.value, 128))
    if not makers:
        raise app.UsageError("--problems or --digits must name a denoiser to measure")
    path = shared.results_folder(_WORKDIR, names=("quality.png",)) / "quality.png"
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
            title = f"{name}, schedule {_SCHEDULE.value if problem.data else 'of the run'}"
            print_table(f"{title}: RMSE | median of a sample's RMSE", nfes, rows)
            if problem.data is not None and stochastic:
                draws = _SAMPLES.value * max(1, 32 // problem.data.dim)
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


if __name__ == "__main__":
    with one_line():
        app.run(main)

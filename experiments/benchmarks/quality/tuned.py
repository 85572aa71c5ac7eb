"""Gains of tuning at equal cost: untuned grids, a tuned grid, and a tuned grid with tuned solver coefficients.

All arithmetic is float32. Errors are
distances to the end of a fine solution from ``sigma / alpha = 80`` to clean data, over test draws that are used neither
for tuning nor for selection; a few of them end in another mode and dominate the RMSE, so the median is given as well.
An untuned error is that of the grid that is best on the test draws. Tuning starts from the two grids that are best on
the validation draws; that of the coefficients also starts from the tuned grid.
"""

import functools
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import app, flags

from experiments.benchmarks.quality.problems import DATA, EDM, GRIDS, Errors, trained_problem
from experiments.cli.endings import one_line
from experiments.cli.progress import duration, final_line
from experiments.reporting import curves
from scorekit import denoisers
from scorekit.solvers import AdamsBashforth, DPMSolverPP2M, Euler, ExponentialAdamsBashforth, UniPC, grids
from scorekit.tuning import Pairs, distances, fine_pairs, tune
from scorekit.typing import Array, Denoiser, Schedule, Solver

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

KINDS = ("untuned", "grid", "grid and coefficients")
Cells = Mapping[tuple[str, int], dict[str, Errors]]
"""By solver and evaluations, the errors over the test draws of each kind."""


class Problem:
    """A denoiser, its schedule, and pairs for tuning, selection and testing."""

    def __init__(self, name: str, denoiser: Denoiser, schedule: Schedule, like: Array, draws: int):
        self.name, self.denoiser, self.schedule = name, denoiser, schedule
        self.starts = lambda n: {grid: grids.matching(schedule, EDM, make(n)) for grid, make in GRIDS.items()}
        batches, t_max = draws // like.shape[0], schedule.time_at(EDM.log_snr(1.0))
        draw = lambda i, n: fine_pairs(jax.random.key(i), denoiser, schedule, like, n, t_max=t_max)
        self.train, self.held_out, self.test = draw(0, batches), draw(1, max(1, batches // 4)), draw(2, batches)

    def errors(self):
        """``(solver, ts, pairs) -> distances``, compiled."""

        @jax.jit
        def all_of(solver, ts, pairs: Pairs):
            each = jax.lax.map(lambda pair: distances(self.denoiser, self.schedule, solver, ts, *pair), pairs)
            return each.ravel()

        return all_of

    def cells(self, solver: Solver, n: int, options: flags.FlagValues) -> tuple[dict[str, Errors], list[str]]:
        """The cell of each kind, and the untuned grids that are best by RMSE and by median."""
        measure, starts = self.errors(), self.starts(n)
        test = {name: measure(solver, ts, self.test) for name, ts in starts.items()}
        rmse, median = ({k: float(f(v)) for k, v in test.items()} for f in (_rmse, jnp.median))
        names = [min(found, key=found.__getitem__) for found in (rmse, median)]
        found = {"untuned": Errors(rmse[names[0]], median[names[1]])}
        for kind in KINDS[1:]:
            tuned = tune(
                self.denoiser,
                self.schedule,
                solver,
                starts,
                self.train,
                self.held_out,
                coefficients=kind != "grid",
                starts=options.starts,
                power=options.power,
                steps=options.steps,
            )
            starts["tuned"] = tuned.ts
            each = measure(tuned.solver, tuned.ts, self.test)
            found[kind] = Errors(float(_rmse(each)), float(jnp.median(each)))
        return found, names


def exact(name: str, draws: int) -> Problem:
    """One of the mixtures, on the EDM schedule."""
    data = DATA[name]()
    network = lambda x, t: data.predict(x, EDM.alpha(t), EDM.sigma(t)).x0
    title = {"ring": "ring of 8 modes, 2-d", "low_rank": "low-rank mixture, 64-d"}[name]
    like = jnp.zeros((256 if name == "ring" else 128, data.dim))
    return Problem(title, denoisers.denoiser_from_network(network, EDM, "x0"), EDM, like, draws)


def trained(workdir: str, draws: int) -> Problem:
    """The network of a run; the labels run through the classes in turn."""
    with one_line():
        found = trained_problem(workdir, 64)
    return Problem("trained digits", found.denoiser, found.schedule, found.x_init, draws)


def _rmse(each: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(each)))


def show_table(problem: Problem, nfes: list[int], cells: Cells) -> None:
    """Prints RMSE and median of all cells, and the error of the best tuned cell over that of the best untuned one."""
    solvers = list(dict.fromkeys(solver for solver, _ in cells))
    for field in Errors._fields:
        value = lambda solver, n, kind, field=field: getattr(cells[solver, n][kind], field)
        print(f"\n{problem.name}: {field}, untuned -> grid tuned -> grid and coefficients tuned")
        print(f"{'NFE':10}" + "".join(f"{n:^29}" for n in nfes))
        for solver in solvers:
            row = ("  ".join(f"{value(solver, n, kind):7.1e}" for kind in KINDS) for n in nfes)
            print(f"{solver:10}" + "".join(f"{cell:29}" for cell in row))
        for kind in KINDS:
            best = [min((value(solver, n, kind), solver) for solver in solvers) for n in nfes]
            first = [min(value(solver, n, "untuned") for solver in solvers) for n in nfes]
            row = (f"{b:.1e} {s} (x {b / a:.2f})" for (b, s), a in zip(best, first, strict=True))
            print(f"best, {kind:22}" + "  ".join(f"{cell:27}" for cell in row))


def run(options: flags.FlagValues, out: Path) -> None:
    """Prints the tables of all problems and plots their medians."""
    begin, nfes, solvers = time.monotonic(), [int(n) for n in options.nfe], options.solvers
    for name in solvers:
        if name not in SOLVERS:
            raise app.UsageError(f"--solvers: {name!r} is not one of {', '.join(SOLVERS)}")
    if options.samples < 256:
        raise app.UsageError(f"--samples: must be at least 256, got {options.samples}")
    makers = [functools.partial(exact, name, options.samples) for name in options.problems]
    if options.digits:
        makers.append(functools.partial(trained, options.digits, options.samples))
    panels = {}
    jobs = [(solver, n) for solver in solvers for n in nfes]
    for i, make in enumerate(makers):
        problem, cells = make(), {}
        start = time.monotonic()
        for j, (solver, n) in enumerate(jobs, start=1):
            cells[solver, n], (by_rmse, by_median) = problem.cells(SOLVERS[solver], n, options)
            left = (time.monotonic() - start) / j * (len(jobs) - j)
            print(
                f"problem {i + 1}/{len(makers)}, cell {j}/{len(jobs)}: {solver} at {n}; best untuned grids: "
                f"{by_rmse} (RMSE), {by_median} (median)" + (f"; ETA {duration(left)}" if left else ""),
                file=sys.stderr,
                flush=True,
            )
        show_table(problem, nfes, cells)
        panels[problem.name] = {
            f"{solver}, {kind}": [cells[solver, n][kind].median for n in nfes] for solver in solvers for kind in KINDS
        }
    ylabel = "median distance to the fine solution"
    curves.panels(out, nfes, panels, xlabel="network evaluations", ylabel=ylabel)
    print(final_line(str(out), time.monotonic() - begin))

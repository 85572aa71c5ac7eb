"""What tuning gains at equal cost: untuned grids, a tuned grid, and a tuned grid with tuned solver coefficients.

    python -m experiments.benchmarks.tuning --out=/tmp/tuning.png
    python -m experiments.benchmarks.tuning --nfe=8 --problems=ring --solvers=AB3,UniPC2
    python -m experiments.benchmarks.tuning --nfe=6,8,10 --problems= --digits=runs/digits --solvers=AB3,UniPC2

The denoisers are exact, or with ``--digits`` the network of a finished run; all arithmetic is float32. Errors are
distances to the end of a fine solution from ``sigma / alpha = 80`` to clean data, over test draws that are used neither
for tuning nor for selection; a few of them end in another mode and dominate the RMSE, so the median is given as well.
An untuned error is that of the grid that is best on the test draws. Tuning starts from the two grids that are best on
the validation draws; that of the coefficients also starts from the tuned grid.
"""

import functools
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from absl import app, flags
from matplotlib.figure import Figure

from experiments.benchmarks.problems import DATA, EDM, GRIDS, trained_problem
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.cli.progress import duration, final_line
from experiments.reporting import plots
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

_PROBLEMS = flags.DEFINE_list("problems", ["ring", "low_rank"], "ring (2-d), low_rank (64-d)")
_DIGITS = flags.DEFINE_string("digits", None, "folder of a trained run, to tune for its network too")
_DRAWS = flags.DEFINE_integer("draws", 4096, "for tuning, and for testing; a quarter for selection", lower_bound=256)
_SOLVERS = flags.DEFINE_list("solvers", list(SOLVERS), "of " + ", ".join(SOLVERS))
_NFE = flags.DEFINE_list("nfe", ["5", "6", "8", "10"], "evaluations")
_STEPS = flags.DEFINE_integer("steps", 250, "updates per initial grid", lower_bound=1)
_STARTS = flags.DEFINE_integer("starts", 2, "initial grids", lower_bound=1)
_POWER = flags.DEFINE_float("power", 1.0, "of the minimised mean: 2 RMSE, 1 mean, 0 geometric mean", lower_bound=0)
_OUT = shared.out("where to save the plot of error against evaluations", "tuning.png")

KINDS = ("untuned", "grid", "grid and coefficients")


class Cell(NamedTuple):
    """Errors over the test draws."""

    rmse: float
    median: float


class Problem:
    """A denoiser, its schedule, and pairs for tuning, selection and testing."""

    def __init__(self, name: str, denoiser: Denoiser, schedule: Schedule, like: Array):
        self.name, self.denoiser, self.schedule = name, denoiser, schedule
        self.starts = lambda n: {grid: grids.matching(schedule, EDM, make(n)) for grid, make in GRIDS.items()}
        batches, t_max = _DRAWS.value // like.shape[0], schedule.time_at(EDM.log_snr(1.0))
        draw = lambda i, n: fine_pairs(jax.random.key(i), denoiser, schedule, like, n, t_max=t_max)
        self.train, self.held_out, self.test = draw(0, batches), draw(1, max(1, batches // 4)), draw(2, batches)

    def errors(self):
        """``(solver, ts, pairs) -> distances``, compiled."""

        @jax.jit
        def all_of(solver, ts, pairs: Pairs):
            each = jax.lax.map(lambda pair: distances(self.denoiser, self.schedule, solver, ts, *pair), pairs)
            return each.ravel()

        return all_of

    def cells(self, solver: Solver, n: int) -> tuple[dict[str, Cell], list[str]]:
        """The cell of each kind, and the untuned grids that are best by RMSE and by median."""
        measure, starts = self.errors(), self.starts(n)
        test = {name: measure(solver, ts, self.test) for name, ts in starts.items()}
        rmse, median = ({k: float(f(v)) for k, v in test.items()} for f in (_rmse, jnp.median))
        names = [min(found, key=found.__getitem__) for found in (rmse, median)]
        found = {"untuned": Cell(rmse[names[0]], median[names[1]])}
        for kind in KINDS[1:]:
            tuned = tune(
                self.denoiser,
                self.schedule,
                solver,
                starts,
                self.train,
                self.held_out,
                coefficients=kind != "grid",
                starts=_STARTS.value,
                power=_POWER.value,
                steps=_STEPS.value,
            )
            starts["tuned"] = tuned.ts
            each = measure(tuned.solver, tuned.ts, self.test)
            found[kind] = Cell(float(_rmse(each)), float(jnp.median(each)))
        return found, names


def exact(name: str) -> Problem:
    """One of the mixtures, on the EDM schedule."""
    data = DATA[name]()
    network = lambda x, t: data.predict(x, EDM.alpha(t), EDM.sigma(t)).x0
    title = {"ring": "ring of 8 modes, 2-d", "low_rank": "low-rank mixture, 64-d"}[name]
    like = jnp.zeros((256 if name == "ring" else 128, data.dim))
    return Problem(title, denoisers.denoiser_from_network(network, EDM, "x0"), EDM, like)


def trained(workdir: str) -> Problem:
    """The network of a run; the labels run through the classes in turn."""
    with one_line():
        found = trained_problem(workdir, 64)
    return Problem("trained digits", found.denoiser, found.schedule, found.x_init)


def _rmse(each: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(each)))


def show_table(problem: Problem, nfes: list[int], cells: Mapping[tuple[str, int], dict[str, Cell]]) -> None:
    """Prints RMSE and median of all cells, and the error of the best tuned cell over that of the best untuned one."""
    for field in Cell._fields:
        value = lambda solver, n, kind, field=field: getattr(cells[solver, n][kind], field)
        print(f"\n{problem.name}: {field}, untuned -> grid tuned -> grid and coefficients tuned")
        print(f"{'NFE':10}" + "".join(f"{n:^29}" for n in nfes))
        for solver in _SOLVERS.value:
            row = ("  ".join(f"{value(solver, n, kind):7.1e}" for kind in KINDS) for n in nfes)
            print(f"{solver:10}" + "".join(f"{cell:29}" for cell in row))
        for kind in KINDS:
            best = [min((value(solver, n, kind), solver) for solver in _SOLVERS.value) for n in nfes]
            first = [min(value(solver, n, "untuned") for solver in _SOLVERS.value) for n in nfes]
            row = (f"{b:.1e} {s} (x {b / a:.2f})" for (b, s), a in zip(best, first, strict=True))
            print(f"best, {kind:22}" + "  ".join(f"{cell:27}" for cell in row))


def show_plot(axes, problem: Problem, nfes: list[int], cells: Mapping[tuple[str, int], dict[str, Cell]]) -> None:
    """Plots the median against evaluations."""
    for i, solver in enumerate(_SOLVERS.value):
        for kind, style in zip(KINDS, (":", "--", "-"), strict=True):
            label = solver if kind == KINDS[-1] else None
            axes.semilogy(
                nfes, [cells[solver, n][kind].median for n in nfes], style, color=f"C{i}", marker=".", label=label
            )
    axes.set(title=problem.name, xlabel="network evaluations", ylabel="median distance to the fine solution")
    axes.legend(title="dotted: untuned\ndashed: grid tuned", fontsize=8)


def main(_) -> None:
    begin, nfes = time.monotonic(), [int(n) for n in _NFE.value]
    makers = [functools.partial(exact, name) for name in _PROBLEMS.value]
    if _DIGITS.value:
        makers.append(functools.partial(trained, _DIGITS.value))
    if not makers:
        raise app.UsageError("--problems or --digits must name a denoiser to tune for")
    out = shared.results(_OUT, None, "")
    figure = Figure(figsize=(5.2 * len(makers), 4.4), layout="constrained")
    axes = figure.subplots(1, len(makers), squeeze=False)[0]
    jobs = [(solver, n) for solver in _SOLVERS.value for n in nfes]
    for i, (make, panel) in enumerate(zip(makers, axes, strict=True)):
        problem, cells = make(), {}
        start = time.monotonic()
        for j, (solver, n) in enumerate(jobs, start=1):
            cells[solver, n], (by_rmse, by_median) = problem.cells(SOLVERS[solver], n)
            left = (time.monotonic() - start) / j * (len(jobs) - j)
            print(
                f"problem {i + 1}/{len(axes)}, cell {j}/{len(jobs)}: {solver} at {n}; best untuned grids: "
                f"{by_rmse} (RMSE), {by_median} (median)" + (f"; ETA {duration(left)}" if left else ""),
                file=sys.stderr,
                flush=True,
            )
        show_table(problem, nfes, cells)
        show_plot(panel, problem, nfes, cells)
    print(final_line(str(plots.save(figure, out)), time.monotonic() - begin))


if __name__ == "__main__":
    with one_line():
        app.run(main)

"""What tuning gives at equal cost: untuned grids, a tuned grid, and a tuned grid with tuned step numbers.

    python -m experiments.benchmarks.tuning --out=/tmp/tuning.png
    python -m experiments.benchmarks.tuning --nfe=8 --problems=ring --solvers=AB3,UniPC2

The denoisers are exact and everything is float32. Errors are distances to the end of a fine solve from ``sigma = 80``
to clean data, over draws that were neither tuned on nor chosen by; a few of them land in another mode and dominate the
RMSE, so the median stands beside it. An untuned figure is that of the best of the grids, chosen on those very draws.
Tuning starts from the best two of them on the draws that it chooses by; the numbers, from the tuned grid too.
"""

import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from absl import app, flags
from matplotlib.figure import Figure

from experiments.benchmarks.problems import DATA, EDM, GRIDS
from experiments.progress import duration, final_line
from scorekit import denoisers
from scorekit.solvers import (
    AdamsBashforth,
    DPMSolverPP2M,
    Euler,
    ExponentialAdamsBashforth,
    UniPC,
)
from scorekit.training.tuning import Pairs, distances, fine_pairs, tune
from scorekit.typing import Array, Denoiser, Solver

SOLVERS: Mapping[str, Solver] = {
    "Euler": Euler(),
    "DPM++2M": DPMSolverPP2M(),
    "AB2": AdamsBashforth(order=2),
    "AB3": AdamsBashforth(order=3),
    "EAB3": ExponentialAdamsBashforth(order=3),
    "UniPC2": UniPC(predictor=2),
}

_PROBLEMS = flags.DEFINE_list("problems", ["ring", "low_rank"], "ring (2-d), low_rank (64-d)")
_SOLVERS = flags.DEFINE_list("solvers", list(SOLVERS), "of " + ", ".join(SOLVERS))
_NFE = flags.DEFINE_list("nfe", ["5", "6", "8", "10"], "evaluations")
_STEPS = flags.DEFINE_integer("steps", 250, "updates per starting grid", lower_bound=1)
_STARTS = flags.DEFINE_integer("starts", 2, "starting grids", lower_bound=1)
_POWER = flags.DEFINE_float("power", 1.0, "of the mean that is tuned: 2 RMSE, 1 mean, 0 geometric mean", lower_bound=0)
_OUT = flags.DEFINE_string("out", "tuning.png", "where to save the plot of error against evaluations")

KINDS = ("untuned", "grid", "grid and numbers")


class Cell(NamedTuple):
    """Errors over the test draws."""

    rmse: float
    median: float


class Problem:
    """A density, its exact denoiser, and pairs to tune on, choose by and test on."""

    def __init__(self, name: str):
        self.name = {"ring": "ring of 8 modes, 2-d", "low_rank": "low-rank mixture, 64-d"}[name]
        data = DATA[name]()
        network = lambda x, t: data.predict(x, EDM.alpha(t), EDM.sigma(t)).x0
        self.denoiser: Denoiser = denoisers.denoiser_from_network(network, EDM, "x0")
        like = jnp.zeros((256 if name == "ring" else 128, data.dim))
        draw = lambda i, n: fine_pairs(jax.random.key(i), self.denoiser, EDM, like, n // like.shape[0])
        self.train, self.held_out, self.test = draw(0, 4096), draw(1, 1024), draw(2, 4096)

    def errors(self):
        """A compiled ``(solver, ts, pairs) -> distances``."""

        @jax.jit
        def all_of(solver, ts, pairs: Pairs):
            each = jax.lax.map(lambda pair: distances(self.denoiser, EDM, solver, ts, *pair), pairs)
            return each.ravel()

        return all_of

    def cells(self, solver: Solver, n: int) -> tuple[dict[str, Cell], list[str]]:
        """The cell of each kind, and the untuned grids that were best by RMSE and by median."""
        measure, starts = self.errors(), {name: make(n) for name, make in GRIDS.items()}
        test = {name: measure(solver, ts, self.test) for name, ts in starts.items()}
        rmse, median = ({k: float(f(v)) for k, v in test.items()} for f in (_rmse, jnp.median))
        names = [min(found, key=found.__getitem__) for found in (rmse, median)]
        found = {"untuned": Cell(rmse[names[0]], median[names[1]])}
        for kind in KINDS[1:]:
            tuned = tune(
                self.denoiser,
                EDM,
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


def _rmse(each: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(each)))


def show_table(problem: Problem, nfes: list[int], cells: Mapping[tuple[str, int], dict[str, Cell]]) -> None:
    """RMSE and median of all cells, and how far the best tuned cell is ahead of the best untuned one."""
    for field in Cell._fields:
        value = lambda solver, n, kind, field=field: getattr(cells[solver, n][kind], field)
        print(f"\n{problem.name}: {field}, untuned -> grid tuned -> grid and numbers tuned")
        print(f"{'NFE':10}" + "".join(f"{n:^29}" for n in nfes))
        for solver in _SOLVERS.value:
            row = ("  ".join(f"{value(solver, n, kind):7.1e}" for kind in KINDS) for n in nfes)
            print(f"{solver:10}" + "".join(f"{cell:29}" for cell in row))
        for kind in KINDS:
            best = [min((value(solver, n, kind), solver) for solver in _SOLVERS.value) for n in nfes]
            first = [min(value(solver, n, "untuned") for solver in _SOLVERS.value) for n in nfes]
            row = (f"{b:.1e} {s} (x {b / a:.2f})" for (b, s), a in zip(best, first, strict=True))
            print(f"best, {kind:17}" + "  ".join(f"{cell:27}" for cell in row))


def show_plot(axes, problem: Problem, nfes: list[int], cells: Mapping[tuple[str, int], dict[str, Cell]]) -> None:
    for i, solver in enumerate(_SOLVERS.value):
        for kind, style in zip(KINDS, (":", "--", "-"), strict=True):
            label = solver if kind == KINDS[-1] else None
            axes.semilogy(
                nfes, [cells[solver, n][kind].median for n in nfes], style, color=f"C{i}", marker=".", label=label
            )
    axes.set(title=problem.name, xlabel="network evaluations", ylabel="median distance to the fine solve")
    axes.legend(title="dotted: untuned\ndashed: grid tuned", fontsize=8)


def main(_) -> None:
    begin, nfes = time.monotonic(), [int(n) for n in _NFE.value]
    figure = Figure(figsize=(5.2 * len(_PROBLEMS.value), 4.4), layout="constrained")
    axes = figure.subplots(1, len(_PROBLEMS.value), squeeze=False)[0]
    jobs = [(solver, n) for solver in _SOLVERS.value for n in nfes]
    for i, (name, panel) in enumerate(zip(_PROBLEMS.value, axes, strict=True)):
        problem, cells = Problem(name), {}
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
    figure.savefig(_OUT.value, dpi=100)
    print(final_line(_OUT.value, time.monotonic() - begin))


if __name__ == "__main__":
    app.run(main)

"""Which solver, on which grid, at N evaluations: errors on exact denoisers and on trained networks.

    python -m experiments.benchmarks.quality                                       # every solver on usual grids
    python -m experiments.benchmarks.quality --grids=all                           # 15 minutes on 2 cores
    python -m experiments.benchmarks.quality --problems= --digits=runs/digits      # a trained network
    python -m experiments.benchmarks.quality --table=few_steps                     # 10 minutes of one core

``solvers``: every solver on every grid. ``few_steps``: :func:`scorekit.samplers.few_steps`, with ``--sigma_data`` on a
network, against the pairs that are defaults or best at few evaluations in diffusers, k-diffusion, azula, dpm_solver and
hackable diffusion; its table was made for none of these data.

All runs start from the same noise at ``sigma / alpha = 80`` and end at clean data. The error of a sample is its root
mean square distance to the end of a fine solution of the probability-flow ODE, in float64 with exact denoisers; a few
samples that end in another mode dominate the RMSE, so the median and the 90th percentile over samples are given too.
Stochastic solvers have the sliced Wasserstein distance to exact samples, beside that of two exact sets. Pairs are
ranked by the geometric mean, over the problems and kinds of errors, of the error over the least error.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.benchmarks.shared import DATA, DETERMINISTIC, EDM, GRIDS, STOCHASTIC
from experiments.cli import command_line
from experiments.cli.config import ConfigError
from experiments.cli.endings import one_line
from experiments.cli.flags import all_of, chosen
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_rules
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.diffusion.runs import open_score
from scorekit import denoisers, densities, process, samplers, solvers
from scorekit.metrics import sliced_wasserstein
from scorekit.solvers import grids
from scorekit.typing import Array, Denoiser, Key, Schedule, Solver

_TABLE = flags.DEFINE_enum("table", "solvers", ["solvers", "few_steps"], "Table to print.")
_PROBLEMS = flags.DEFINE_list("problems", ["all"], "Exact denoisers: names of DATA, or all.")
_DIGITS = flags.DEFINE_string("digits", None, "Folder of a trained run, to measure its network too.")
_NFE = flags.DEFINE_list("nfe", ["5", "8", "10", "20"], "Network evaluations.")
_SOLVERS = flags.DEFINE_list("solvers", ["all"], "Names of solvers, or all.")
_GRIDS = flags.DEFINE_list("grids", ["karras7 .002", "logsnr .03", "VP t^2", "VP t^3", "flow t"], "solvers: grids.")
_SAMPLES = flags.DEFINE_integer("samples", 256, "Samples; at most 128 of a network.", lower_bound=16)
_SCALE = flags.DEFINE_float("guidance_scale", 1.0, "Guidance scale; of exact denoisers to a third of the modes.")
_SIGMA_DATA = flags.DEFINE_float("sigma_data", 1.0, "few_steps: of the network of --digits.", lower_bound=0.01)

MAX_STEPS = 300  # of a grid; the reference solution has as many


class Problem(NamedTuple):
    """A denoiser, the initial state of its runs, and (unless it is a trained network) the distribution of its data."""

    schedule: Schedule
    denoiser: Denoiser
    x_init: Array
    data: densities.Mixture | None = None

    def times(self, grid: str, n: int) -> Array:
        """The grid on the schedule of the problem."""
        return grids.matching(self.schedule, EDM, GRIDS[grid](n))

    def run(self, solver: Solver, ts: Array, key: Key | None = None, x: Array | None = None) -> Array:
        """:func:`scorekit.samplers.sample` from ``x_init`` or x, compiled once for grids of all lengths."""
        n, x = len(ts) - 1, self.x_init if x is None else x
        return _run(key, self.denoiser, self.schedule, solver, x, jnp.pad(ts, (0, MAX_STEPS - n)), n)


@jax.jit
def _run(key, denoiser, schedule, solver, x, ts, n):
    once = jax.jit(lambda x, t: denoiser(x, t))
    rows = solver.plan(schedule, ts)  # those beyond n are not used

    def body(k, carry):
        x, state = carry
        for_step = None if key is None else jax.random.fold_in(key, k)
        return solver.step(state, x, jax.tree.map(lambda leaf: leaf[k], rows), once, key=for_step)

    return jax.lax.fori_loop(0, n, body, (x, solver.init(x)))[0]


def exact_problem(name: str, samples: int, scale: float = 1.0) -> Problem:
    """One of ``DATA``, with a scale other than 1 guided to a third of its modes."""
    data = DATA[name]()
    parts = [(1.0, data)]
    if scale != 1.0:
        parts = [(1.0 - scale, data), (scale, jax.tree.map(lambda leaf: leaf[::3], data))]
    # Through x0 alone, as from a network: computing the exact x0 and eps separately would take twice the time.
    x0 = lambda parts, x, t: sum(weight * part.predict(x, EDM.alpha(t), EDM.sigma(t)).x0 for weight, part in parts)
    exact = denoisers.denoiser_from_network(jax.tree_util.Partial(x0, parts), EDM, "x0")
    return Problem(EDM, exact, EDM.sigma(1.0) * jax.random.normal(jax.random.key(0), (samples, data.dim)), data)


def trained_problem(workdir: str, samples: int, scale: float) -> Problem:
    """The network of a finished run; the labels run through the classes in turn."""
    config = diffusion.saved(workdir)
    run = open_score(config, Path(workdir).expanduser(), None, (scale,))
    labels, schedule = jnp.arange(samples) % run.dataset.num_classes, run.model.schedule
    like = jax.ShapeDtypeStruct((samples, *run.model.shape), jnp.float32)
    x = process.sample_prior(jax.random.key(0), schedule, like, schedule.time_at(EDM.log_snr(1.0)))
    if scale == 1.0:
        return Problem(schedule, run.model.denoiser(run.params, labels), x)
    return Problem(schedule, make_guided(build_rules(config), run.model)(run.params, labels, scale, run.extras), x)


USUAL = {
    "DDIM": ("karras7 .002", "flow t"),
    "Heun sigma": ("karras7 .002",),  # of EDM
    "Heun flow": ("flow t",),
    "DPM++2M": ("karras7 .002", "logsnr .002", "logsnr .01", "VP t^2"),
    "UniPC2": ("logsnr .01",),
    "UniPC3": ("logsnr .01", "karras7 .002"),
    "tAB-DEIS3": ("VP t^2",),
    "EAB3 eps": ("karras7 .002", "logsnr .01"),
    "AB2 flow": ("flow t",),
    "AB3 flow": ("flow t", "karras7 .002"),
}
"""Solvers with the grids that packages use them with."""


def steps_of(solver: Solver, nfe: int) -> int:
    """The steps that take so many evaluations: the last one, to clean data, takes one."""
    return 1 + (nfe - 1) // solver.evals_per_step


class Errors(NamedTuple):
    """Of the RMSE of each sample: root mean square, median and 90th percentile."""

    rmse: float
    median: float
    p90: float


def summary(each: Array) -> Errors:
    """The errors of samples from the RMSE of each; inf where it is not finite."""
    values = np.nan_to_num(np.asarray(each, float).ravel(), nan=np.inf, posinf=np.inf)
    p90 = np.percentile(values, 90, method="higher")
    return Errors(math.sqrt(np.mean(values**2)), float(np.median(values)), float(p90))


Cells = dict[str, list[Errors]]  # errors by pair, for each number of evaluations


def measured(problem: Problem, pairs: Iterable[tuple[str, str]], nfes: list[int], given: Any = None) -> Cells:
    """The errors of pairs of solver and grid, of the recommended pair and, with its arguments, of ``few_steps``."""
    reference = np.asarray(problem.run(solvers.RK4(), problem.times("VP t^3", MAX_STEPS)), float)
    top = problem.schedule.time_at(EDM.log_snr(1.0))  # of the initial state
    recommended = functools.partial(samplers.recommended, problem.schedule, t_max=top)
    draw = jax.jit(samplers.sample)  # compiled for each number of steps, to which the solver of few_steps belongs

    def error(x):
        with np.errstate(all="ignore"):
            square = np.square(np.asarray(x, float) - reference).reshape(len(reference), -1)
        return summary(np.sqrt(np.mean(square, axis=1)))

    def usual(name, grid, n):
        solver = DETERMINISTIC[name]
        return problem.run(solver, problem.times(grid, steps_of(solver, n)))

    def tabulated(n):
        solver, ts = recommended(n, **given)
        return draw(problem.denoiser, problem.schedule, solver, problem.x_init, ts)

    runs: dict[str, Any] = {f"{name} [{grid}]": functools.partial(usual, name, grid) for name, grid in pairs}
    runs["recommended"] = lambda n: problem.run(*recommended(n))
    if given is not None:
        runs["tabulated"] = tabulated
    return {name: [error(run(n)) for n in nfes] for name, run in runs.items()}


def show_distances(
    title: str, data: densities.Mixture, problem: Problem, pairs: Iterable[tuple[str, str]], nfes
) -> None:
    """Prints the sliced Wasserstein distance of stochastic solvers, and of other exact samples, to exact samples."""
    num = len(problem.x_init) * max(1, 32 // data.dim)
    keys = jax.random.split(jax.random.key(1), 5)
    exact = data.sample(keys[0], (num,))
    distance = jax.jit(lambda x: sliced_wasserstein(keys[2], x, exact))
    x_init = EDM.sigma(1.0) * jax.random.normal(keys[3], exact.shape)

    def of(name, grid, nfe):
        n = steps_of(STOCHASTIC[name](1), nfe)
        return float(distance(problem.run(STOCHASTIC[name](n), problem.times(grid, n), keys[4], x_init)))

    rows = {f"{name} [{grid}]": [of(name, grid, n) for n in nfes] for name, grid in pairs}
    others = [float(distance(data.sample(key, (num,)))) for key in jax.random.split(keys[1], 8)]
    show(f"{title}: sliced Wasserstein distance", nfes, rows | {"two exact sets": [float(np.mean(others))] * len(nfes)})


def show(title: str, nfes: list[int], rows: Mapping[str, Sequence[float]], form: str = "9.1e") -> None:
    """Prints values by the number of evaluations."""
    print(f"\n{title}\n{'evaluations':40}" + "".join(f"{n:>9}" for n in nfes))
    for name, values in rows.items():
        print(f"{name:40}" + "".join(f"{value:{form}}" for value in values), flush=True)


def show_errors(title: str, nfes: list[int], cells: Cells) -> None:
    """Prints each kind of error, and how many times the error of the tabulated sampler the others have."""
    for kind in Errors._fields:
        rows = {name: [getattr(each, kind) for each in errors] for name, errors in cells.items()}
        show(f"{title}: {kind}", nfes, rows)
        if "tabulated" in rows:
            own, recommended = (np.array(rows.pop(name)) for name in ("tabulated", "recommended"))
            ratios = {"best strategy / tabulated": np.min([*rows.values()], 0) / own}
            show(f"{title}: ratios of {kind}", nfes, ratios | {"recommended / tabulated": recommended / own}, "9.2f")


def show_ranks(tables: list[Cells], nfes: list[int]) -> None:
    """Prints the geometric mean over problems and kinds of the error over the least error, of the best pairs."""
    for i, n in enumerate(nfes):
        errors = np.array([[cells[name][i] for name in tables[0]] for cells in tables])  # (problems, pairs, kinds)
        factors = np.exp(np.mean(np.log(errors / errors.min(axis=1, keepdims=True)), axis=(0, 2)))
        ranks = sorted(zip(factors, tables[0], strict=True))
        print(f"\nrank at NFE {n} (factor over the best): " + ", ".join(f"{name} {f:.2f}" for f, name in ranks[:8]))


def main(_) -> None:
    table, scale, num = _TABLE.value, _SCALE.value, _SAMPLES.value
    problems = chosen("problems", _PROBLEMS.value, DATA) + ([_DIGITS.value] if _DIGITS.value else [])
    if not problems:
        raise ConfigError("--problems or --digits must name a denoiser to measure")
    nfes = sorted(all_of("nfe", _NFE.value, int, lambda n: 1 <= n <= MAX_STEPS, f"from 1 to {MAX_STEPS}"))
    names = chosen("solvers", _SOLVERS.value, [*DETERMINISTIC, *STOCHASTIC])
    some = chosen("grids", _GRIDS.value, GRIDS)
    pairs = [(name, grid) for name in names for grid in (USUAL.get(name, ()) if table == "few_steps" else some)]
    ode, sde = ([pair for pair in pairs if pair[0] in kind] for kind in (DETERMINISTIC, STOCHASTIC))
    tables = []
    for name in problems:
        exact, title = name in DATA, name if name in DATA else "digits"
        with jax.enable_x64(exact), one_line():
            problem = exact_problem(name, num, scale) if exact else trained_problem(name, min(num, 128), scale)
            sigma_data, guided = 1.0 if exact else _SIGMA_DATA.value, None if scale == 1.0 else scale
            given = {"sigma_data": sigma_data, "guidance_scale": guided} if table == "few_steps" else None
            cells = measured(problem, ode, nfes, given)
            tables.append(cells)
            show_errors(title, nfes, cells)
            if problem.data is not None and table == "solvers" and sde:
                show_distances(title, problem.data, problem, sde, nfes)
    show_ranks(tables, nfes)


if __name__ == "__main__":
    command_line.run(main)

"""The tabulated sampler of few steps against the usual solvers and grids, on data that its table was not made for.

Every sampler starts at ``sigma / alpha = 80`` from the same noise; the error is the distance to the end of a fine
solution from it, as RMSE and as median and 90th percentile of the RMSE of a sample. ``STRATEGIES`` are the pairs of
solver and grid that are defaults, or best at few evaluations, in diffusers, k-diffusion, azula, dpm_solver and hackable
diffusion; ``docs/solvers.md`` says what differs.
"""

import jax
import numpy as np
from absl import flags

from experiments.benchmarks.quality.problems import Errors, Problem, errors, exact_problem, trained_problem
from experiments.cli.endings import one_line
from experiments.cli.flags import chosen
from scorekit import solvers
from scorekit.samplers import recommended, sample
from scorekit.typing import Solver

STRATEGIES: dict[str, tuple[Solver, str]] = {
    "DDIM, Karras": (solvers.Euler(), "karras7 .002"),
    "DDIM, flow": (solvers.Euler(), "flow t"),
    "Heun (EDM), Karras": (solvers.Heun(coordinate="sigma"), "karras7 .002"),
    "Heun, flow": (solvers.Heun(), "flow t"),
    "DPM++2M, Karras": (solvers.DPMSolverPP2M(), "karras7 .002"),
    "DPM++2M, log-SNR": (solvers.DPMSolverPP2M(), "logsnr .002"),
    "DPM++2M, log-SNR to .01": (solvers.DPMSolverPP2M(), "logsnr .01"),
    "DPM++2M, VP t^2": (solvers.DPMSolverPP2M(), "VP t^2"),
    "UniPC2, log-SNR to .01": (solvers.UniPC(predictor=2), "logsnr .01"),
    "UniPC3, log-SNR to .01": (solvers.UniPC(predictor=3), "logsnr .01"),
    "UniPC3, Karras": (solvers.UniPC(predictor=3), "karras7 .002"),
    "DEIS3, VP t^2": (solvers.deis(3), "VP t^2"),
    "DEIS3 in log-SNR, Karras": (solvers.ExponentialAdamsBashforth(order=3), "karras7 .002"),
    "DEIS3 in log-SNR to .01": (solvers.ExponentialAdamsBashforth(order=3), "logsnr .01"),
    "Adams 2 of v, flow": (solvers.AdamsBashforth(order=2), "flow t"),
    "Adams 3 of v, flow": (solvers.AdamsBashforth(order=3), "flow t"),
    "Adams 3 of v, Karras": (solvers.AdamsBashforth(order=3), "karras7 .002"),
}
TWO_STAGES = 2  # Heun's step to 0 takes one evaluation: 2n - 1 in all
PUBLISHED: dict[tuple[str, int], dict[int, float]] = {
    ("ring", 0): {5: 5.5e-2, 8: 3.5e-2, 10: 1.7e-2, 20: 3.1e-3},
    ("low_rank", 1): {5: 7.1e-2, 8: 3.9e-2, 10: 2.6e-2, 20: 2.5e-3},
}
"""The best cell of some 40 samplers of the packages themselves: RMSE (0) and median (1)."""


def measure(
    problem: Problem, names: list[str], nfes: list[int], sigma_data: float, scale: float
) -> dict[str, list[Errors]]:
    """The errors of every strategy, of the recommended pair, and of the recommended one with ``sigma_data``, by NFE."""
    guided = None if scale == 1.0 else scale

    def usual(solver, grid, nfe):
        return problem.error(
            solver, problem.times(grid, nfe if solver.evals_per_step == 1 else (nfe + 1) // TWO_STAGES)
        )

    def tabulated(nfe):
        solver, ts = recommended(problem.schedule, nfe, t_max=problem.top, sigma_data=sigma_data, guidance_scale=guided)
        return errors(_draw(None, problem.denoiser, problem.schedule, solver, problem.x_init, ts), problem.reference)

    found = {name: [usual(*STRATEGIES[name], nfe) for nfe in nfes] for name in names}
    found["recommended"] = [problem.error(*problem.recommended(n)) for n in nfes]
    return found | {"tabulated": [tabulated(n) for n in nfes]}


_draw = jax.jit(sample)  # compiled for each number of steps, to which the tabulated solver belongs


def print_ratios(rows: dict[str, np.ndarray]) -> None:
    """Prints ratios by the number of evaluations."""
    for row, values in rows.items():
        print(f"{row:28}" + "".join(f"{value:9.2f}" for value in values))


def show(name: str, found: dict[str, list[Errors]], nfes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Prints the table of a problem; returns best strategy and recommended over tabulated, by kind of error."""
    ratios = []
    for kind, title in enumerate(Errors._fields):
        print(f"\n{name}: {title}\n{'evaluations':28}" + "".join(f"{n:>9}" for n in nfes))
        for row, cells in found.items():
            print(f"{row:28}" + "".join(f"{cell[kind]:9.1e}" for cell in cells))
        errors = {row: np.array([cell[kind] for cell in cells]) for row, cells in found.items()}
        best = np.min([values for row, values in errors.items() if row in STRATEGIES], axis=0)
        both = best / errors["tabulated"], errors["recommended"] / errors["tabulated"]
        rows: dict[str, np.ndarray] = {"best strategy / tabulated": both[0], "recommended / tabulated": both[1]}
        if known := PUBLISHED.get((name, kind)):
            rows["best of packages / tabulated"] = np.array([known.get(n, np.nan) for n in nfes]) / errors["tabulated"]
        print_ratios(rows)
        ratios.append(both)
    return ratios


def run(options: flags.FlagValues) -> None:
    """Prints the tables of all problems, and the ratios over them."""
    nfes, ratios, names = [int(n) for n in options.nfe], [], chosen("solvers", options.solvers, STRATEGIES)
    scale = options.guidance_scale
    for name in options.problems:
        with jax.enable_x64(True):
            problem = exact_problem(name, "edm", options.samples, scale)
            ratios += show(name, measure(problem, names, nfes, 1.0, scale), nfes)
    if len(ratios) > len(Errors._fields):
        for title, values in zip(("best strategy", "recommended"), zip(*ratios, strict=True), strict=True):
            print(f"\n{title} / tabulated, over {len(options.problems)} problems and all errors:")
            print_ratios({"geometric mean": np.exp(np.mean(np.log(values), 0)), "smallest": np.min(values, 0)})
    if options.digits:
        with one_line():
            problem = trained_problem(options.digits, min(options.samples, 128), scale)
        show("digits", measure(problem, names, nfes, options.sigma_data, scale), nfes)

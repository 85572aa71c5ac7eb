"""Fidelity against diversity of every rule and scale."""

import itertools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.scale import SymmetricalLogScale

from experiments.benchmarks.guidance.problems import EULER, IMAGES, RULES, Problem
from experiments.reporting.curves import Line, Panel, curves
from scorekit import guidance, metrics, process, samplers, solvers
from scorekit.solvers import grids
from scorekit.typing import Array, Denoiser

METRICS = ("class accuracy", "precision", "recall", "coverage", "Vendi", "energy", "Fréchet")


def rules_of(problem: Problem) -> dict[str, Callable[..., Denoiser]]:
    """The rules that apply to the problem."""
    found = {name: rule for name, rule in RULES.items() if len(problem.shape) == 3 or name not in IMAGES}
    if "weak" in problem.extra:
        found["autoguidance"] = lambda c, u, s, g: guidance.autoguidance(c, problem.extra["weak"], g)
    if "log posterior" in problem.extra:
        posterior = problem.extra["log posterior"]
        found["classifier"] = lambda c, u, s, g: guidance.classifier_guidance(u, posterior, s, g)
    return found


def compared(real: Array, x: Array) -> tuple[Array, ...]:
    """``METRICS`` of samples ``(N, D)`` but for the class accuracy and the Vendi score."""
    coverage = metrics.density_coverage(real, x).coverage
    distances = metrics.energy_distance(real, x), metrics.frechet_distance(real, x)
    return *metrics.precision_recall(real, x), coverage, *distances


def make_compare(problem: Problem):
    """``samples -> metrics``, all of ``METRICS`` but the class accuracy."""
    classes = problem.null

    @jax.jit
    def compare(real, x):
        precision, recall, coverage, *distances = compared(real, x)
        each = x[: len(x) // classes * classes].reshape(-1, classes, x.shape[1]).swapaxes(0, 1)
        vendi = jnp.mean(jax.vmap(lambda one: metrics.vendi_score(one, problem.bandwidth))(each))
        return jnp.stack([precision, recall, coverage, vendi, *distances])

    return lambda x: np.asarray(compare(problem.real, jnp.asarray(x).reshape(len(x), -1)))


Found = dict[str, dict[float, np.ndarray]]
"""The values of ``METRICS``, by rule and scale."""


def measure(problem: Problem, scales: list[float], steps: int) -> tuple[Found, dict[str, dict[float, np.ndarray]]]:
    """The metrics of every rule and scale, and the first ten samples of each."""
    cond, uncond = guidance.branches(problem.conditional, problem.labels, problem.null)
    like = jax.ShapeDtypeStruct((len(problem.labels), *problem.shape), jnp.float32)
    noise = process.sample_prior(jax.random.key(0), problem.schedule, like)
    ts, compare = grids.uniform(steps), make_compare(problem)
    found: Found = {}
    pictures: dict[str, dict[float, np.ndarray]] = {}
    for name, rule in rules_of(problem).items():
        draw = jax.jit(samplers.sample)
        solver = solvers.Euler() if name in EULER else solvers.AdamsBashforth(order=2)
        for scale in scales:
            denoiser = rule(cond, uncond, problem.schedule, jnp.float32(scale))
            x = np.asarray(draw(None, denoiser, problem.schedule, solver, noise, ts))
            found.setdefault(name, {})[scale] = np.array([problem.accuracy(x), *compare(x)])
            pictures.setdefault(name, {})[scale] = x[:10]
    return found, pictures


def real_row(problem: Problem) -> np.ndarray:
    """The metrics of one half of the real data against the other."""
    order = np.random.default_rng(0).permutation(len(problem.real))
    one, other = np.array_split(problem.real[order], 2)
    vendi = jax.jit(lambda x: metrics.vendi_score(x, problem.bandwidth))

    precision, recall, coverage, *distances = jax.jit(compared)(one, other)
    diversity = np.mean([vendi(x) for x in problem.by_class])
    return np.array([problem.real_accuracy, precision, recall, coverage, diversity, *distances], float)


def show(problem: Problem, found: Found, steps: int) -> None:
    """Prints the metrics, and for every rule those at ``TARGET`` and at the highest coverage."""
    n = len(problem.labels)
    print(f"\n{problem.name}: {n} samples, {steps} steps; Vendi score of {n // problem.null} samples of a class")
    print(f"{'rule':16}{'γ':>5}" + "".join(f"{name:>15}" for name in METRICS))
    print(f"{'real, halves':21}" + "".join(f"{v:15.3f}" for v in real_row(problem)))
    for name, rows in found.items():
        for scale, values in rows.items():
            print(f"{name:16}{scale:5g}" + "".join(f"{v:15.3f}" for v in values))
    print(f"{'':16}{f'at class accuracy {TARGET:g} (interpolated)':>40}{'at the highest coverage':>33}")
    print(f"{'':16}" + "".join(f"{name:>10}" for name in ("γ", *AT)) + "".join(f"{name:>11}" for name in ("γ", *BEST)))
    coverage = 1 + METRICS.index("coverage")
    tables = {name: np.array([[scale, *values] for scale, values in rows.items()]) for name, rows in found.items()}
    for name, table in sorted(tables.items(), key=lambda item: -crossing(item[1])[coverage]):
        best = table[table[:, coverage].argmax()]
        pick = lambda row, names: [row[0], *(row[1 + METRICS.index(n)] for n in names)]
        cells = [f"{v:10.3f}" for v in pick(crossing(table), AT)] + [f"{v:11.3f}" for v in pick(best, BEST)]
        print(f"{name:16}" + "".join(cells))


TARGET, AT, BEST = 0.95, ("coverage", "Vendi", "energy"), ("coverage", "precision")


def crossing(table: np.ndarray) -> np.ndarray:
    """Scale and metrics where the class accuracy first reaches ``TARGET``, interpolated; NaN if it never does."""
    for low, high in itertools.pairwise(table):
        if low[1] < TARGET <= high[1]:
            return low + (high - low) * (TARGET - low[1]) / (high[1] - low[1])
    return table[0] if table[0, 1] >= TARGET else np.full(table.shape[1], np.nan)


PANELS = (("Vendi", "class accuracy"), ("recall", "precision"), ("coverage", "class accuracy"))
UNITS = {"Vendi": "Vendi score within a class (effective samples)", "recall": "recall (share of real data)"}
UNITS |= {"precision": "precision (share of samples)", "class accuracy": "class accuracy (share of samples)"}
UNITS |= {"coverage": "coverage (share of real data)", "energy": "energy distance (units of the data)"}


def draw(path: Path, problem: Problem, found: Found) -> None:
    """Plots fidelity against diversity, one curve per rule, and the energy distance by scale."""
    metric = lambda name: {rule: [row[METRICS.index(name)] for row in rows.values()] for rule, rows in found.items()}
    last = {rule: [*[""] * (len(rows) - 1), f"{list(rows)[-1]:g}"] for rule, rows in found.items()}
    panels = []
    for across, up in PANELS:
        x, y = metric(across), metric(up)
        curves_of = {rule: Line(x[rule], y[rule], texts=last[rule]) for rule in found}
        panels.append(Panel(curves_of, UNITS[across], UNITS[up], f"{problem.name} (the number is the last γ)"))
    energy = {rule: Line([*found[rule]], y) for rule, y in metric("energy").items()}
    symmetric = {"yscale": SymmetricalLogScale(None, linthresh=0.02)}  # an unbiased estimate may be negative
    panels.append(Panel(energy, "guidance scale γ", UNITS["energy"], "distance to the real data", axes=symmetric))
    curves(path, panels, columns=2, size=(5.5, 4.5))

"""From statistics to a table: scores calibrated on in-distribution data only, and how well they separate."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from experiments.ood.statistics import Statistics
from scorekit import metrics, typicality

Score = Callable[[Statistics], np.ndarray]
"""Statistics of N images to ``(N,)``, larger for what is more foreign."""


def _kernel(select: Callable[[Statistics], np.ndarray], calibration: Statistics) -> Score:
    log_density = jax.jit(jax.jit(typicality.density_of_states)(select(calibration)).log_density)
    return lambda found: -np.asarray(log_density(select(found)))


def _gaussian(select: Callable[[Statistics], np.ndarray], calibration: Statistics) -> Score:
    known = select(calibration)
    mean, std = known.mean(axis=0), known.std(axis=0)
    log_density = jax.jit(typicality.gaussian_of_states((known - mean) / std).log_density)
    return lambda found: -np.asarray(log_density((select(found) - mean) / std))


def _z_mean(name: str, calibration: Statistics) -> Score:
    """The mean over noise levels of the error in standard deviations of in-distribution errors, as in DDPM-OOD."""
    mean, std = calibration[name].mean(axis=0), calibration[name].std(axis=0)
    return lambda found: np.mean((found[name] - mean) / std, axis=1)


def _decorrelated(select: Callable[[Statistics], np.ndarray], calibration: Statistics):
    """Principal components of the statistics at unit variance: a sum of marginal log-densities takes them as
    independent, and errors and norms at neighbouring noise levels are far from it."""
    known = select(calibration)
    mean, std = known.mean(axis=0), known.std(axis=0)
    variances, directions = np.linalg.eigh(np.cov((known - mean) / std, rowvar=False))
    kept = directions / np.sqrt(variances + 1e-3)
    return lambda found: (select(found) - mean) / std @ kept


def _all(found: Statistics) -> np.ndarray:
    """What the density of states is taken over: likelihood, bound, norms, errors, curvature and DiffPath-1D."""
    logs = [np.log(found[name] + 1e-6) for name in ("norms", "one step", "many steps")]
    return np.concatenate([found["log p"], found["bound"], *logs, found["curvature"], found["path"][:, 4:5]], axis=1)


def make_scores(calibration: Statistics) -> dict[str, Score]:
    """The rows of the table, fitted to the statistics of the calibration set alone."""
    entropy = float(typicality.monte_carlo_entropy(calibration["log p"][:, 0]).value)
    bits = lambda found: found["bound"][:, 0] / np.log(2.0) - found["code length"][:, 0]
    return {
        "likelihood": lambda found: -found["log p"][:, 0],
        "variational bound": lambda found: found["bound"][:, 0],
        "typicality |-log p - H|": lambda found: np.abs(-found["log p"][:, 0] - entropy),
        "input complexity": bits,
        "score norms, Gaussian (MSMA)": _gaussian(lambda found: np.log(found["norms"] + 1e-6), calibration),
        "reconstruction, one step": _z_mean("one step", calibration),
        "reconstruction, many steps (DDPM-OOD)": _z_mean("many steps", calibration),
        "path, 1D (DiffPath)": _kernel(lambda found: found["path"][:, 4:5], calibration),
        "path, 6D (DiffPath)": _gaussian(lambda found: np.cbrt(found["path"]), calibration),
        "score over curvature (SCOPED)": _kernel(lambda found: found["curvature"], calibration),
        "density of states (DoSE)": _kernel(_all, calibration),
        "density of states, decorrelated": _kernel(_decorrelated(_all, calibration), calibration),
        "states, Gaussian": _gaussian(_all, calibration),
    }


class Separation(NamedTuple):
    """How well one score tells one set from the in-distribution one."""

    score: str
    outside: str
    auroc: float
    low: float
    high: float
    aupr: float
    fpr95: float


def separate(
    scores: dict[str, Score], inside: Statistics, outside: dict[str, Statistics], seed: int
) -> list[Separation]:
    """Every score on every set, with a bootstrap interval of the AUROC."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, 0))
    def compare(key, inside, outside):
        interval = metrics.bootstrap_interval(key, metrics.auroc, inside, outside, resamples=500)
        return (*interval, metrics.aupr(inside, outside), metrics.fpr_at_tpr(inside, outside))

    rows, known = [], np.stack([score(inside) for score in scores.values()])
    for set_name, found in outside.items():
        values = compare(jax.random.key(seed), known, np.stack([score(found) for score in scores.values()]))
        rows += [Separation(name, set_name, *map(float, row)) for name, *row in zip(scores, *values, strict=True)]
    return rows


def rejected_by_batch(
    calibration: Statistics, sets: dict[str, Statistics], sizes: tuple[int, ...], seed: int
) -> dict[str, list[float]]:
    """The share of batches of M that Nalisnick's test rejects at 5 %, for each set and size."""
    known = calibration["log p"][:, 0]
    entropy = typicality.monte_carlo_entropy(known).value
    test = jax.jit(lambda key, log_p: typicality.typicality_test(key, entropy, known, log_p, resamples=2000).rejected)
    shares: dict[str, list[float]] = {}
    for name, found in sets.items():
        values = found["log p"][:, 0]
        shares[name] = []
        for m in sizes:
            rng = np.random.default_rng(seed)
            batches = np.stack([rng.choice(values, m, replace=m > len(values)) for _ in range(200)])
            shares[name].append(float(np.mean(test(jax.random.key(seed), batches))))
    return shares

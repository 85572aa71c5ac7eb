"""Scores calibrated on in-distribution data only, and how well they separate the sets."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.projects.ood.statistics import Statistics
from scorekit import metrics, typicality

Score = Callable[[Statistics], np.ndarray]
"""Statistics of N images to ``(N,)``, larger for images that are further out of distribution."""


def _fitted(factory: Callable, select: Callable[[Statistics], np.ndarray], calibration: Statistics) -> Score:
    """A score of :mod:`scorekit.typicality` on some of the statistics."""
    score = factory(select(calibration))
    return lambda stats: np.asarray(_apply(score, select(stats)))


@jax.jit
def _apply(score: Callable, statistics: np.ndarray):
    return score(statistics)


def _all(stats: Statistics) -> np.ndarray:
    """The statistics of the density of states: likelihood, bound, norms, errors, curvature and DiffPath-1D."""
    logs = [np.log(stats[name] + 1e-6) for name in ("norms", "one step", "many steps")]
    return np.concatenate([stats["log p"], stats["bound"], *logs, stats["curvature"], stats["path"][:, 4:5]], axis=1)


def make_scores(calibration: Statistics) -> dict[str, Score]:
    """The rows of the table, fitted to the statistics of the calibration set alone."""
    entropy = float(typicality.monte_carlo_entropy(calibration["log p"][:, 0]).value)
    kernel, gaussian, z = typicality.kernel_density_score, typicality.gaussian_score, typicality.mean_z_score
    decorrelated = typicality.decorrelate(_all(calibration))
    without_correlation = lambda stats: np.asarray(decorrelated(_all(stats)))
    select = lambda name: lambda stats: stats[name]
    return {
        "variational bound": lambda stats: stats["bound"][:, 0],
        "likelihood": lambda stats: -stats["log p"][:, 0],
        "typicality |-log p - H|": lambda stats: np.abs(-stats["log p"][:, 0] - entropy),
        "input complexity": lambda stats: (stats["bound"] / np.log(2.0) - stats["code length"])[:, 0],
        "score norms, Gaussian (MSMA)": _fitted(gaussian, lambda stats: np.log(stats["norms"] + 1e-6), calibration),
        "reconstruction, one step": _fitted(z, select("one step"), calibration),
        "reconstruction, many steps (DDPM-OOD)": _fitted(z, select("many steps"), calibration),
        "path, 1D (DiffPath)": _fitted(kernel, lambda stats: stats["path"][:, 4:5], calibration),
        "path, 6D (DiffPath)": _fitted(gaussian, lambda stats: np.cbrt(stats["path"]), calibration),
        "score over curvature (SCOPED)": _fitted(kernel, select("curvature"), calibration),
        "density of states (DoSE)": _fitted(kernel, _all, calibration),
        "density of states, decorrelated": _fitted(kernel, without_correlation, calibration),
        "states, Gaussian": _fitted(gaussian, _all, calibration),
    }


class Separation(NamedTuple):
    """How well one score separates one out-of-distribution set from the in-distribution set."""

    score: str
    dataset: str
    auroc: float
    low: float
    high: float
    aupr: float
    fpr95: float


def separate(
    scores: dict[str, Score], in_distribution: Statistics, others: dict[str, Statistics], seed: int
) -> list[Separation]:
    """Every score on every set, with a bootstrap interval of the AUROC."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, 0))
    def compare(key, inliers, outliers):
        interval = metrics.bootstrap_interval(key, metrics.auroc, inliers, outliers, num_resamples=500)
        return (*interval, metrics.aupr(inliers, outliers), metrics.fpr_at_tpr(inliers, outliers))

    rows, inliers = [], np.stack([score(in_distribution) for score in scores.values()])
    for set_name, stats in others.items():
        values = compare(jax.random.key(seed), inliers, np.stack([score(stats) for score in scores.values()]))
        rows += [Separation(name, set_name, *map(float, row)) for name, *row in zip(scores, *values, strict=True)]
    return rows


def rejected_by_batch(
    calibration: Statistics, sets: dict[str, Statistics], sizes: Sequence[int], seed: int
) -> dict[str, list[float]]:
    """The fraction of batches of M that Nalisnick's test rejects at 5 %, for each set and size."""
    values = calibration["log p"][:, 0]
    entropy = float(typicality.monte_carlo_entropy(values).value)
    test = jax.jit(
        lambda key, log_p: typicality.typicality_test(key, entropy, values, log_p, num_resamples=2000).rejected
    )
    shares: dict[str, list[float]] = {}
    for name, stats in sets.items():
        log_p = stats["log p"][:, 0]
        shares[name] = []
        for m in sizes:
            rng = np.random.default_rng(seed)
            batches = np.stack([rng.choice(log_p, m, replace=m > len(log_p)) for _ in range(200)])
            shares[name].append(float(np.mean(test(jax.random.key(seed), batches))))
    return shares

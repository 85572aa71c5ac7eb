"""Solvers, time grids and exact data by their names in tables of benchmarks."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from scorekit import densities, schedules, solvers
from scorekit.solvers import grids
from scorekit.typing import Array, Schedule

DETERMINISTIC: dict[str, Any] = {
    "DDIM": solvers.Euler(),
    "Heun flow": solvers.Heun(),
    "Heun sigma": solvers.Heun(coordinate="sigma"),
    "DPM++2M": solvers.DPMSolverPP2M(),
    "DPM++3M": solvers.DPMSolverPP3M(),
    "EAB3 eps": solvers.ExponentialAdamsBashforth(order=3),
    "tAB-DEIS3": solvers.deis(3),
    "AB2 flow": solvers.AdamsBashforth(order=2),
    "AB3 flow": solvers.AdamsBashforth(order=3),
    "AB3 angle": solvers.AdamsBashforth(order=3, coordinate="angle"),
    "UniPC2": solvers.UniPC(predictor=2),
    "UniPC3": solvers.UniPC(predictor=3),
    "UniPC2 flow": solvers.UniPC(predictor=2, coordinate="flow"),
    "UniPC3 flow": solvers.UniPC(predictor=3, coordinate="flow"),
}
STOCHASTIC: dict[str, Callable[[int], Any]] = {
    "DDPM": lambda n: solvers.Ancestral(),
    "Euler-Maruyama": lambda n: solvers.EulerMaruyama(clock="log_snr"),
    "DPM++2M SDE": lambda n: solvers.DPMSolverPP2MSDE(),
    "EDM churn": solvers.edm_stochastic,
}
"""Solvers for a number of steps."""


EDM = schedules.EDM(sigma_min=0.0, sigma_max=80.0)  # its t = 0 is clean data


def at_ratio(schedule: Schedule, ratio: float) -> Array:
    """The time at which ``sigma / alpha`` is a ratio."""
    return schedule.time_at(jnp.asarray(-2.0 * math.log(ratio)))


def powers(n: int, schedule: Schedule, power: float = 1.0) -> Array:
    """Equal steps of ``t^(1 / power)`` on another schedule, from its time at ``sigma / alpha = 80`` to its t = 0."""
    ts = grids.quadratic(n, at_ratio(schedule, 80.0), power=power)
    return grids.matching(EDM, schedule, ts).at[0].set(1.0).at[-1].set(0.0)


GRIDS: dict[str, Callable[[int], Array]] = {
    "karras7 .002": lambda n: grids.karras(EDM, n, 1.0, at_ratio(EDM, 0.002)),
    "logsnr .002": lambda n: grids.uniform_log_snr(EDM, n, 1.0, at_ratio(EDM, 0.002)),
    "logsnr .01": lambda n: grids.uniform_log_snr(EDM, n, 1.0, at_ratio(EDM, 0.01)),
    "logsnr .03": lambda n: grids.uniform_log_snr(EDM, n, 1.0, at_ratio(EDM, 0.03)),
    "VP t": lambda n: powers(n, schedules.LinearVP()),
    "VP t^2": lambda n: powers(n, schedules.LinearVP(), 2.0),
    "VP t^2.5": lambda n: powers(n, schedules.LinearVP(), 2.5),
    "VP t^3": lambda n: powers(n, schedules.LinearVP(), 3.0),
    "flow t": lambda n: powers(n, schedules.RectifiedFlow()),
}
"""Times of EDM by the number of steps."""


def low_rank(dim: int = 64, modes: int = 10, rank: int = 8, std: float = 0.059) -> densities.Mixture:
    """Modes of unequal weight; standard deviations .36 to 3.5 along ``rank`` directions, ``std`` along the others."""
    rng = np.random.default_rng(0)
    weights = np.linspace(1.0, 3.0, modes) / np.linspace(1.0, 3.0, modes).sum()
    bases = [np.linalg.qr(rng.normal(size=(dim, rank)))[0] for _ in range(modes)]
    factors = [basis * np.exp(rng.uniform(np.log(0.36), np.log(3.5), rank)) for basis in bases]
    within = std**2 + sum(w * np.sum(f**2) for w, f in zip(weights, factors, strict=True)) / dim
    means = rng.normal(size=(modes, dim))
    means -= weights @ means
    means *= math.sqrt((1.0 - within) / (weights @ np.square(means).mean(1)))
    parts = [densities.gaussian(jnp.asarray(m), std=std, factor=f) for m, f in zip(means, factors, strict=True)]
    return densities.mixture(weights, parts)


def modes_at(weights: np.ndarray, means: np.ndarray, std: float) -> densities.Mixture:
    """Modes of one width, scaled so that the mean variance of a coordinate is 1."""
    weights = weights / weights.sum()
    means = means - weights @ means
    scale = 1.0 / math.sqrt(np.mean(weights @ means**2) + std**2)
    return densities.mixture(weights, [densities.gaussian(jnp.asarray(scale * m), std=scale * std) for m in means])


def random_modes(dim: int, modes: int, seed: int, std: float) -> densities.Mixture:
    """Modes at random places."""
    rng = np.random.default_rng(seed)
    return modes_at(rng.dirichlet(np.full(modes, 3.0)), rng.normal(size=(modes, dim)), std)


def heavy_tails(dim: int = 16, scales: int = 8) -> densities.Mixture:
    """One centre and many widths, as a Student distribution."""
    stds, weights = np.geomspace(0.15, 5.0, scales), np.geomspace(1.0, 0.01, scales)
    stds = stds / math.sqrt(weights @ stds**2 / weights.sum())
    return densities.mixture(weights, [densities.gaussian(jnp.zeros(dim), std=float(s)) for s in stds])


def power_law(dim: int = 64) -> densities.Mixture:
    """One Gaussian with the spectrum of images, ``k^-2``, around a mean."""
    variances = np.arange(1.0, dim + 1.0) ** -2.0
    variances *= dim / variances.sum()
    factor = np.eye(dim)[:, :-1] * np.sqrt(variances[:-1] - variances[-1])
    part = densities.gaussian(jnp.full(dim, 0.2), std=float(np.sqrt(variances[-1])), factor=factor)
    return densities.mixture(np.ones(1), [part])


BOARD = np.array([(i - 1.5, j - 1.5) for i in range(4) for j in range(4) if (i + j) % 2]) * math.sqrt(
    (1 - 0.12**2) / 1.25
)
DATA = {
    "ring": lambda: densities.ring(8, math.sqrt(2.0 * (1.0 - 0.1**2)), 0.1),
    "low_rank": low_rank,
    "four_modes_1d": lambda: random_modes(1, 4, 1, 0.1),
    "eight_modes_8d": lambda: random_modes(8, 8, 3, 0.15),
    "low_rank_16d": lambda: low_rank(16, 6, 2, 0.08),
    "annulus": lambda: densities.ring(64, math.sqrt(2.0 * (1.0 - 0.03**2)), 0.03),
    "heavy_tails_16d": heavy_tails,
    "power_law_64d": power_law,
    "checkerboard": lambda: modes_at(np.ones(len(BOARD)), BOARD, 0.12),
}
"""Mixtures by name; the variance of a coordinate is 1."""

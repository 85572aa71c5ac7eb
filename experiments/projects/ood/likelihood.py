"""Exact log-likelihood: error in nats and seconds per 1000 points.

    python -m experiments.projects.ood.likelihood

The data are mixtures of known density, the network predicts their exact eps, the schedule is linear VP. The error is
against the density of the model, whose prior differs slightly from the noisy data: ``log p_0(x) + log N(x_1) - log
p_1(x_1)``. The library chooses its blocks of points itself, or integrates all points together. Each figure is a median
over repetitions that alternate between both. The last table is the error of the estimators of the divergence in 64
dimensions.
"""

import functools
import math
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.scipy.stats import norm

from experiments.cli import command_line
from experiments.reporting.tables import show
from scorekit import denoisers, densities, schedules
from scorekit.likelihood import log_likelihood
from scorekit.typing import Array, Denoiser

_POINTS = flags.DEFINE_integer("points", 400, "points of the ring; half as many in 64 dimensions")
_TURNS = flags.DEFINE_integer("turns", 3, "repetitions of each measurement")
_TOLERANCES = flags.DEFINE_list("tolerances", ["1e-3", "1e-4", "1e-5", "1e-6"], "rtol = atol of all solvers")
_TANGENTS = flags.DEFINE_list("tangents", ["6", "12", "24", "48"], "tangents of each estimator of the divergence")
SCHEDULE = schedules.linear_vp()


def low_rank_mixture(dim: int = 64, rank: int = 4, modes: int = 5) -> densities.Mixture:
    """Five modes, each wide along four directions and narrow along the others."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(modes, dim, rank)) / math.sqrt(rank)
    means = rng.normal(size=(modes, dim))
    parts = [densities.gaussian(jnp.asarray(m), std=0.3, factor=f) for m, f in zip(means, factors, strict=True)]
    return densities.mixture(np.ones(modes), parts)


def exact_denoiser(data: densities.Mixture) -> Denoiser:
    """A denoiser through eps alone, as from a network: exact x0 and eps separately would take twice the time."""
    network = lambda x, t: data.predict(x, SCHEDULE.alpha(t), SCHEDULE.sigma(t)).eps
    return denoisers.denoiser_from_network(network, SCHEDULE, "eps")


@jax.jit
def exact(data: densities.Mixture, x: Array, x_1: Array) -> Array:
    """The density of the model at ``x``, given its latent."""
    last = data.marginal(SCHEDULE.alpha(1.0), SCHEDULE.sigma(1.0))
    return data.log_density(x) + norm.logpdf(x_1, scale=SCHEDULE.sigma(1.0)).sum(-1) - last.log_density(x_1)


def measure(data: densities.Mixture, points: int, tolerances: list[float], turns: int) -> dict[str, list[list[float]]]:
    """Tolerance, evaluations, mean error, bias and seconds per 1000 points of both choices of blocks, in turns."""
    x = jax.jit(data.sample, static_argnums=1)(jax.random.key(0), (points,))
    denoiser, runs = exact_denoiser(data), {}
    for name, block_size in (("scorekit", None), ("scorekit, whole", points)):
        solve = functools.partial(log_likelihood, None, denoiser, SCHEDULE, block_size=block_size)
        runs[name] = jax.jit(lambda x, tolerance, solve=solve: solve(x, rtol=tolerance, atol=tolerance))
    rows: dict[str, list[list[float]]] = {name: [] for name in runs}
    for tolerance in tolerances:
        results = {name: jax.block_until_ready(run(x, tolerance)) for name, run in runs.items()}  # compiles
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(turns):
            for name, run in runs.items():
                start = time.perf_counter()
                jax.block_until_ready(run(x, tolerance))
                seconds[name].append((time.perf_counter() - start) * 1000 / points)
        for name, result in results.items():
            error = np.asarray(result.log_p - exact(data, x, result.x_1), float)
            mean, bias = float(np.abs(error).mean()), float(error.mean())
            rows[name].append([tolerance, float(result.nfe), mean, bias, statistics.median(seconds[name])])
    return rows


def estimator_errors(data: densities.Mixture, points: int, tangents: int, draws: int = 16) -> dict[str, float]:
    """Root-mean-square error in nats of each estimator of the divergence, against the exact trace on the same grid."""
    x, denoiser = jax.jit(data.sample, static_argnums=1)(jax.random.key(0), (points,)), exact_denoiser(data)
    solve = functools.partial(log_likelihood, probes=tangents, ts=np.linspace(1.0, 0.0, 33))
    exactly = jax.jit(lambda: solve(None, denoiser, SCHEDULE, x).log_p)()
    errors = {}
    for name in ("gaussian", "rademacher", "hutch++"):
        once = functools.partial(solve, divergence=name)
        log_p = jax.jit(jax.vmap(lambda key, once=once: once(key, denoiser, SCHEDULE, x).log_p))
        squares = jnp.square(log_p(jax.random.split(jax.random.key(1), draws)) - exactly)
        errors[name] = float(jnp.sqrt(jnp.mean(squares)))
    return errors


def main(_) -> None:
    for title, data, points in (
        ("ring of 8 modes, 2-d", densities.ring(), _POINTS.value),
        ("low-rank mixture, 64-d", low_rank_mixture(), _POINTS.value // 2),
    ):
        print(f"\n{title}, {points} points")
        print(f"{'':18}{'rtol':>8}{'nfe':>7}{'mean |error|':>14}{'bias':>11}{'s per 1000':>12}")
        for name, rows in measure(data, points, [*map(float, _TOLERANCES.value)], _TURNS.value).items():
            for tolerance, nfe, error, bias, seconds in rows:
                print(f"{name:18}{tolerance:8.0e}{nfe:7.0f}{error:14.1e}{bias:11.1e}{show(seconds):>12}", flush=True)
    print("\ntangents  RMSE in nats, 64-d")
    for tangents in map(int, _TANGENTS.value):
        errors = estimator_errors(low_rank_mixture(), 20, tangents)
        print(f"{tangents:8d}  " + ", ".join(f"{name} {show(error)}" for name, error in errors.items()))


if __name__ == "__main__":
    command_line.run(main)

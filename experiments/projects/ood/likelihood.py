"""Exact log-likelihood: evaluations and error in nats by the tolerance of the solver.

    python -m experiments.projects.ood.likelihood

The data are mixtures of known density, the network predicts their exact eps, the schedule is linear VP. The error is
against the density of the model, whose prior differs slightly from the noisy data: ``log p_0(x) + log N(x_1) - log
p_1(x_1)``. The last table is the error of the estimators of the divergence in 64 dimensions.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.scipy.stats import norm

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.reporting.tables import Cell, Table, metrics_table, tables_as_text
from scorekit import denoisers, densities, schedules
from scorekit.likelihood import log_likelihood
from scorekit.typing import Array, Denoiser

_POINTS = shared.count("points", 400, "Points of the ring; half as many in 64 dimensions.", 2)
_TOLERANCES = flags.DEFINE_list("tolerances", ["1e-3", "1e-4", "1e-5", "1e-6"], "rtol = atol of the solver.")
_TANGENTS = flags.DEFINE_list("tangents", ["6", "12", "24", "48"], "Tangents of each estimator of the divergence.")
SCHEDULE = schedules.LinearVP()


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


def measure(data: densities.Mixture, points: int, tolerances: list[float]) -> list[list[Cell]]:
    """Tolerance, evaluations, mean error and bias."""
    x = jax.jit(data.sample, static_argnums=1)(jax.random.key(0), (points,))
    denoiser = exact_denoiser(data)
    solve = jax.jit(lambda x, tolerance: log_likelihood(denoiser, SCHEDULE, x, rtol=tolerance, atol=tolerance))
    rows: list[list[Cell]] = []
    for tolerance in tolerances:
        result = solve(x, tolerance)
        error = np.asarray(result.log_p - exact(data, x, result.x_1), float)
        rows.append([f"{tolerance:.0e}", int(result.nfe), float(np.abs(error).mean()), float(error.mean())])
    return rows


def estimator_errors(data: densities.Mixture, points: int, tangents: int, draws: int = 16) -> dict[str, float]:
    """Root-mean-square error in nats of each estimator of the divergence, against the exact trace on the same grid."""
    x, denoiser = jax.jit(data.sample, static_argnums=1)(jax.random.key(0), (points,)), exact_denoiser(data)
    solve = functools.partial(log_likelihood, num_probes=tangents, ts=np.linspace(1.0, 0.0, 33))
    exactly = jax.jit(lambda: solve(denoiser, SCHEDULE, x).log_p)()
    errors = {}
    for name in ("gaussian", "rademacher", "hutch++"):
        once = functools.partial(solve, divergence=name)
        log_p = jax.jit(jax.vmap(lambda key, once=once: once(denoiser, SCHEDULE, x, key=key).log_p))
        squares = jnp.square(log_p(jax.random.split(jax.random.key(1), draws)) - exactly)
        errors[name] = float(jnp.sqrt(jnp.mean(squares)))
    return errors


def main(_) -> None:
    tolerances = shared.all_of("tolerances", _TOLERANCES.value, float, lambda x: 0 < x < 1, "numbers from 0 to 1")
    tangents = shared.step_counts("tangents", _TANGENTS.value, "6,12")
    for title, data, points in (
        ("ring of 8 modes, 2-d", densities.ring(), _POINTS.value),
        ("low-rank mixture, 64-d", low_rank_mixture(), _POINTS.value // 2),
    ):
        print(f"\n{title}, {points} points")
        print(tables_as_text([Table(["rtol", "nfe", "mean |error|", "bias"], measure(data, points, tolerances))]))
    errors = {f"{count}": estimator_errors(low_rank_mixture(), 20, count) for count in tangents}
    print(tables_as_text([metrics_table(errors, "Root-mean-square error in nats by tangents, 64-d.")]))


if __name__ == "__main__":
    command_line.run(main)

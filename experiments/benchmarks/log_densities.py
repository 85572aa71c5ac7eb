"""Solvers of the exact log-likelihood: the library and diffrax, on mixtures of known density."""

import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from experiments.benchmarks.measuring import rounds
from scorekit import denoisers, densities, process, schedules
from scorekit.likelihood import log_likelihood
from scorekit.typing import Array, Denoiser

SCHEDULE = schedules.linear_vp()
Solve = Callable[[Array, Array], tuple[Array, Array, Array]]
"""``(x, tolerance) -> (log_p, x_1, nfe)``."""


class Row(NamedTuple):
    """One solver at one tolerance."""

    solver: str
    tolerance: float
    nfe: float
    error: float
    bias: float
    seconds: float


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


def ours(data: densities.Mixture, block_size: int | None = None) -> Solve:
    """:func:`scorekit.likelihood.log_likelihood`, by default in the blocks that it chooses."""
    denoiser = exact_denoiser(data)

    def solve(x, tolerance):
        found = log_likelihood(None, denoiser, SCHEDULE, x, rtol=tolerance, atol=tolerance, block_size=block_size)
        return found.log_p, found.x_1, found.nfe

    return solve


def with_diffrax(data: densities.Mixture) -> Solve:
    """The same with diffrax."""
    import diffrax

    denoiser, directions = exact_denoiser(data), jnp.eye(data.dim)

    def field(t, state, args):
        del args
        f, half = process.drift(SCHEDULE, t), 0.5 * process.diffusion_squared(SCHEDULE, t)
        drift = lambda x: f * x + half / SCHEDULE.sigma(t) * denoiser(x, t).eps

        def one(direction):
            along = jnp.broadcast_to(direction, state[0].shape)
            return jnp.sum(jax.jvp(drift, (state[0],), (along,))[1] * along, axis=-1)

        return drift(state[0]), jnp.sum(jax.vmap(one)(directions), axis=0)

    def solve(x, tolerance):
        term, controller = diffrax.ODETerm(field), diffrax.PIDController(rtol=tolerance, atol=tolerance)
        given = {"t0": 1e-5, "t1": 1.0, "dt0": None, "y0": (x, jnp.zeros(len(x))), "stepsize_controller": controller}
        solution = diffrax.diffeqsolve(term, diffrax.Dopri5(), max_steps=2000, **given)
        assert solution.ys is not None
        x_1, change = (leaf[0] for leaf in solution.ys)
        return norm.logpdf(x_1, scale=SCHEDULE.sigma(1.0)).sum(-1) + change, x_1, 6 * solution.stats["num_steps"] + 2

    return solve


def in_blocks(solve: Solve, size: int) -> Solve:
    """The same in blocks of ``size`` points."""

    def blocks(x, tolerance):
        log_p, x_1, nfe = jax.lax.map(lambda block: solve(block, tolerance), x.reshape(-1, size, x.shape[-1]))
        return log_p.reshape(-1), x_1.reshape(x.shape), jnp.mean(nfe)

    return blocks


@jax.jit
def exact(data: densities.Mixture, x: Array, x_1: Array) -> Array:
    """The density of the model at ``x``, given its latent."""
    last = data.marginal(SCHEDULE.alpha(1.0), SCHEDULE.sigma(1.0))
    return data.log_density(x) + norm.logpdf(x_1, scale=SCHEDULE.sigma(1.0)).sum(-1) - last.log_density(x_1)


def measure(
    data: densities.Mixture,
    points: int,
    solvers: Mapping[str, Callable[..., Solve]],
    tolerances: Sequence[float],
    turns: int,
) -> list[Row]:
    """Every solver at every tolerance, in alternation."""
    x = jax.jit(data.sample, static_argnums=1)(jax.random.key(0), (points,))
    compiled = {name: jax.jit(make(data)) for name, make in solvers.items()}
    cells = {(name, tol): functools.partial(run, x, tol) for name, run in compiled.items() for tol in tolerances}
    found = {cell: jax.block_until_ready(run()) for cell, run in cells.items()}
    seconds, rows = rounds(cells, turns), []
    for (name, tolerance), (log_p, x_1, nfe) in found.items():
        error = np.asarray(log_p - exact(data, x, x_1), float)
        cost = statistics.median(seconds[name, tolerance]) * 1000 / points
        rows.append(Row(name, tolerance, float(nfe), float(np.abs(error).mean()), float(error.mean()), cost))
    return rows


def estimator_errors(data: densities.Mixture, points: int, tangents: int, draws: int = 16) -> dict[str, float]:
    """Root-mean-square error in nats of each estimator of the divergence, against the exact trace on the same grid."""
    x, denoiser = jax.jit(data.sample, static_argnums=1)(jax.random.key(0), (points,)), exact_denoiser(data)
    solve = functools.partial(log_likelihood, probes=tangents, ts=np.linspace(1.0, 0.0, 33))
    exactly = jax.jit(lambda: solve(None, denoiser, SCHEDULE, x).log_p)()
    found = {}
    for name in ("gaussian", "rademacher", "hutch++"):
        once = functools.partial(solve, divergence=name)
        log_p = jax.jit(jax.vmap(lambda key, once=once: once(key, denoiser, SCHEDULE, x).log_p))
        found[name] = float(jnp.sqrt(jnp.mean(jnp.square(log_p(jax.random.split(jax.random.key(1), draws)) - exactly))))
    return found


def at_equal_error(rows: list[Row], solver: str, baseline: str) -> float:
    """Time of the baseline over time of the solver at the smallest error of the baseline that both reach."""
    of = lambda name: sorted((r.error, r.seconds) for r in rows if r.solver == name)
    mine, other = of(solver), of(baseline)
    errors, times = np.log(mine).T
    reached = [(error, seconds) for error, seconds in other if error >= mine[0][0]] or other[-1:]
    return reached[0][1] / math.exp(np.interp(math.log(reached[0][0]), errors, times))

"""The distance of every method for inverse problems from the true posterior.

For a Gaussian with full covariance and for a mixture, with exact denoisers in float64, the posterior of a linear
observation has a closed form. The tables hold the error of the mean (RMS over coordinates, in standard deviations of
the posterior), the error of the covariance (Frobenius norm, relative to the true one) and the sliced Wasserstein
distance to exact samples, with the errors of other exact samples for comparison. For a Gaussian the fine ODE is an
affine map, and the first two have no sampling error.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reporting.tables import Table
from scorekit import denoisers, densities, guidance, metrics, samplers, schedules, solvers
from scorekit.guidance import operators
from scorekit.typing import Array

SCHEDULE = schedules.cosine()
DIM, OBSERVED, NOISE = 16, 6, 0.3


class Posterior(NamedTuple):
    """A problem and its solution: prior, operator, observation ``(OBSERVED or DIM,)``, noise, exact posterior, mask."""

    prior: densities.Gaussian | densities.Mixture
    operator: operators.Operator
    y: Array
    noise_std: float
    exact: densities.Gaussian | densities.Mixture
    keep: Array | None = None


def condition(prior: densities.Gaussian, matrix: np.ndarray, y: np.ndarray, noise_std: float):
    """``p(x0 | y)`` and ``log p(y)`` of a Gaussian prior."""
    mean, c = np.asarray(prior.mean), np.asarray(prior.covariance())
    total = matrix @ c @ matrix.T + noise_std**2 * np.eye(len(matrix))
    gain, gap = c @ matrix.T @ np.linalg.inv(total), y - matrix @ mean
    rest = c - gain @ matrix @ c
    log_p = -0.5 * (gap @ np.linalg.solve(total, gap) + np.linalg.slogdet(2 * np.pi * total)[1])
    floor = 1e-12 * np.eye(len(c))  # without noise the posterior has no density along observed directions
    return densities.gaussian(jnp.asarray(mean + gain @ gap), covariance=0.5 * (rest + rest.T) + floor), log_p


def times_matrix(matrix: Array) -> operators.Operator:
    """``x -> A x`` of batches; another matrix of the same shape does not retrace."""
    return jax.tree_util.Partial(_apply, matrix)


def _apply(matrix, x):
    return x @ matrix.T


def _covariance(rng: np.random.Generator) -> np.ndarray:
    basis = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    return basis * np.geomspace(0.05, 3.0, DIM) @ basis.T


def problems() -> dict[str, Posterior]:
    """A Gaussian observed through a matrix with noise, the same with half of it masked and no noise, and a mixture."""
    rng = np.random.default_rng(0)
    prior = densities.gaussian(jnp.asarray(rng.normal(size=DIM)), covariance=jnp.asarray(_covariance(rng)))
    truth = np.asarray(prior.mean) + np.linalg.cholesky(np.asarray(prior.covariance())) @ rng.normal(size=DIM)
    matrix = rng.normal(size=(OBSERVED, DIM)) / 4
    y = matrix @ truth + NOISE * rng.normal(size=OBSERVED)
    projection = times_matrix(jnp.asarray(matrix))
    gaussian = Posterior(prior, projection, jnp.asarray(y), NOISE, condition(prior, matrix, y, NOISE)[0])
    keep = np.arange(DIM) % 2 == 0
    exact, _ = condition(prior, np.eye(DIM)[keep], truth[keep], 0.0)
    mask = operators.mask(jnp.asarray(keep))
    masked = Posterior(prior, mask, jnp.asarray(keep * truth), 0.0, exact, jnp.asarray(keep))
    parts = [
        densities.gaussian(jnp.asarray(1.2 * rng.normal(size=DIM)), covariance=jnp.asarray(0.3 * _covariance(rng)))
        for _ in range(5)
    ]
    y = matrix @ np.mean([np.asarray(p.mean) for p in parts[:2]], axis=0) + NOISE * rng.normal(size=OBSERVED)
    posteriors, log_p = zip(*(condition(p, matrix, y, NOISE) for p in parts), strict=True)
    of_parts = densities.mixture(np.exp(np.array(log_p) - max(log_p)) + 1e-12, list(posteriors))
    mixed = Posterior(densities.mixture(np.ones(5), parts), projection, jnp.asarray(y), NOISE, of_parts)
    projections = f"{OBSERVED} projections of {DIM}, noise {NOISE}"
    return {
        f"Gaussian, {projections}": gaussian,
        f"Gaussian, {keep.sum()} of {DIM} coordinates, no noise": masked,
        f"mixture of 5, {projections}": mixed,
    }


@functools.partial(jax.jit, static_argnames="n")
def _draw(density, key, n: int) -> Array:
    return density.sample(key, (n,))


def posterior_samplers(problem: Posterior, n: int, steps: int) -> dict[str, Callable]:
    """Every method as ``(key, noise) -> samples``, by name."""
    prior = denoisers.exact_denoiser(problem.prior, SCHEDULE)
    y = jnp.broadcast_to(problem.y, (n, *problem.y.shape))
    ts, given = solvers.grids.uniform(steps), (prior, SCHEDULE, problem.operator, y)
    data_std = float(jnp.sqrt(jnp.mean(jnp.var(_draw(problem.prior, jax.random.key(7), 4000), axis=0))))

    def ode(rule):
        return lambda key, x: samplers.sample(None, rule, SCHEDULE, solvers.Heun(), x, ts)

    def dps(size):
        solver = solvers.DPS(operator=problem.operator, observation=y, inner=solvers.Ancestral(), step_size=size)
        return lambda key, x: samplers.sample(key, prior, SCHEDULE, solver, x, ts)

    def repaint(resamples):
        options = {"jump_length": 1, "resamples": resamples}
        arguments = ts, problem.keep, y
        return lambda key, x: samplers.repaint(key, prior, SCHEDULE, solvers.Ancestral(), x, *arguments, **options)

    std = problem.noise_std
    rules = {
        "no guidance": ode(prior),
        "replacement": ode(guidance.replacement(*given, std, data_std=data_std)),
        "pigdm": ode(guidance.pigdm(*given, std, data_std=data_std)),
        **{f"mmps, {k} iterations": ode(guidance.mmps(*given, std, iterations=k)) for k in (1, 3, problem.y.size)},
        "dps, noise_std 1": ode(guidance.dps(*given, 1.0)),
        **{f"DPS, step_size {size:g}": dps(size) for size in (0.1, 0.3)},
    }
    if problem.keep is not None:
        rules |= {f"repaint, {r} resamples": repaint(r) for r in (1, 10)}
    return rules


def standardised(noise: Array) -> Array:
    """Noise whose sample mean is 0 and covariance I, so that an affine map has no sampling error."""
    centred = noise - noise.mean(0)
    return jnp.linalg.solve(jnp.linalg.cholesky(jnp.cov(centred.T)), centred.T).T


def exact_table(name: str, problem: Posterior, n: int, steps: int) -> Table:
    """The errors of every method on one problem."""
    noise = jax.jit(standardised)(jax.random.normal(jax.random.key(0), (n, DIM)))
    draws = np.asarray(_draw(problem.exact, jax.random.key(1), 50_000))
    mean, covariance = draws.mean(0), np.cov(draws.T)
    if isinstance(problem.exact, densities.Gaussian):
        mean, covariance = np.asarray(problem.exact.mean), np.asarray(problem.exact.covariance())
    scale = np.sqrt(np.trace(covariance) / DIM)

    def row(label, x):
        x = np.asarray(x)
        if not np.all(np.isfinite(x)) or np.abs(x).max() > 1e6:
            return [label, None, None, None]
        errors = [
            float(np.sqrt(np.mean(np.square(x.mean(0) - mean))) / scale),
            float(np.linalg.norm(np.cov(x.T) - covariance) / np.linalg.norm(covariance)),
        ]
        return [label, *errors, float(metrics.sliced_wasserstein(jax.random.key(3), x, draws[:n]))]

    rows = [row("exact samples", _draw(problem.exact, jax.random.key(2), n))]
    for label, run in posterior_samplers(problem, n, steps).items():
        rows.append(row(label, jax.jit(run)(jax.random.key(4), noise)))
        print(".", end="", flush=True)
    print()
    header = [name, "error of the mean", "of the covariance", "sliced Wasserstein"]
    return Table(header, rows, f"{n:,} samples, {steps} steps; – diverged")

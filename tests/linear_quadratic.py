"""Fine-tuning of a linear policy in one dimension towards a quadratic reward, where all laws are Gaussian and exact.

A policy is a table ``(n, 2)``: at the k-th time its denoiser predicts ``x0 = table[k, 0] x + table[k, 1]``.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, schedules, solvers

SCHEDULE, SOLVER, CENTRE, TEMPERATURE = schedules.Cosine(), solvers.Ancestral(), 1.5, 0.8
MEAN, VARIANCE = -0.5, 0.49
TILTED_VARIANCE = 1 / (1 / VARIANCE + 1 / TEMPERATURE)
TILTED_MEAN = TILTED_VARIANCE * (MEAN / VARIANCE + CENTRE / TEMPERATURE)


def reward(x):
    return -0.5 * jnp.sum(jnp.square(x - CENTRE), axis=-1)


def denoiser(table):
    k = lambda t: jnp.argmin(jnp.abs(TS[:-1] - t))
    return denoisers.denoiser_from_network(lambda x, t: table[k(t), 0] * x + table[k(t), 1], SCHEDULE, "x0")


@jax.jit
def exact_table(ts, mean=MEAN, variance=VARIANCE):
    """The table of the exact denoiser of Gaussian data."""
    exact = denoisers.exact_denoiser(densities.gaussian(jnp.full(1, mean), std=variance**0.5), SCHEDULE)
    at = jax.vmap(lambda x, t: exact(jnp.full((1, 1), x), t).x0[0, 0], (None, 0))
    return jnp.stack([at(1.0, ts[:-1]) - at(0.0, ts[:-1]), at(0.0, ts[:-1])], axis=1)


def marginal(t):
    """The mean and the variance of the noised data."""
    return MEAN * SCHEDULE.alpha(t), SCHEDULE.alpha(t) ** 2 * VARIANCE + SCHEDULE.sigma(t) ** 2


def steps(table, ts):
    """Of ``x_s = gain x + shift + std z`` all three, ``(n,)``, and the derivative of the mean by x0."""
    rows, alpha, sigma = SOLVER.plan(SCHEDULE, ts), SCHEDULE.alpha(ts[:-1]), SCHEDULE.sigma(ts[:-1])
    by_x0 = rows.x0 - rows.eps * alpha / sigma
    return by_x0 * table[:, 0] + rows.eps / sigma, by_x0 * table[:, 1], rows.std, by_x0


@jax.jit
def law(table, ts):
    """The mean and the variance of the samples, and the KL divergence of the paths from those of the exact model."""

    def body(carry, step):
        (m, v, kl), (g, h, std, g_ref, h_ref) = carry, step
        square = jnp.square((g - g_ref) * m + h - h_ref) + jnp.square(g - g_ref) * v
        kl += jnp.where(std > 0, 0.5 * square / jnp.where(std > 0, std, 1.0) ** 2, 0.0)
        return (g * m + h, g**2 * v + std**2, kl), None

    inputs = *steps(table, ts)[:3], *steps(exact_table(ts), ts)[:2]
    return jax.lax.scan(body, (*marginal(ts[0]), jnp.zeros(())), inputs)[0]


def objective(table, kl=TEMPERATURE):
    """``-E r + kl KL``."""
    m, v, divergence = law(table, TS)
    return 0.5 * (jnp.square(m - CENTRE) + v) + kl * divergence


def optimum(ts):
    """The table with the least objective, by dynamic programming; a last step without noise is the exact one."""
    table = np.array(exact_table(ts))
    g, h, std, by_x0 = (np.asarray(x, float) for x in steps(table, ts))
    p, q = 1 / TEMPERATURE, -CENTRE / TEMPERATURE  # the value is p x^2 / 2 + q x + const
    for k in reversed(range(len(ts) - 1)):
        shrink = 1 / (1 + std[k] ** 2 * p)  # the mean moves from m to (m - std^2 q) shrink
        table[k] += np.array([g[k] * (shrink - 1), (h[k] - std[k] ** 2 * q) * shrink - h[k]]) / by_x0[k]
        p, q = g[k] ** 2 * p * shrink, g[k] * shrink * (p * h[k] + q)
    return jnp.asarray(table)


KEY, TS = jax.random.key(0), jnp.array([0.9, 0.6, 0.3, 0.1])
REFERENCE, BEST = exact_table(TS), optimum(TS)
OTHER = REFERENCE + 0.1 * jnp.arange(6.0).reshape(3, 2)
START = marginal(TS[0])[0] + jnp.sqrt(marginal(TS[0])[1]) * jax.random.normal(jax.random.key(7), (200_000, 1))

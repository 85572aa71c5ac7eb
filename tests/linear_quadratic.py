"""Fine-tuning of a linear policy in one dimension towards a quadratic reward, where everything is exact.

A policy is a table ``(n, 2)``: at the k-th time the denoiser predicts ``x0 = table[k, 0] x + table[k, 1]``. The reward
is ``-(x - CENTRE)^2 / 2``, the start is Gaussian, and so are all states.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, schedules, solvers

SCHEDULE, SOLVER, CENTRE, TEMPERATURE = schedules.Cosine(), solvers.Ancestral(), 1.5, 0.8
DATA = densities.gaussian(jnp.full(1, -0.5), std=0.7)
TILTED_VARIANCE = 1 / (1 / 0.49 + 1 / TEMPERATURE)
TILTED_MEAN = TILTED_VARIANCE * (-0.5 / 0.49 + CENTRE / TEMPERATURE)


def reward(x):
    return -0.5 * jnp.sum(jnp.square(x - CENTRE), axis=-1)


def denoiser(table, ts):
    """The denoiser of a table, at the times ``ts[:-1]``."""
    k = lambda t: jnp.argmin(jnp.abs(jnp.asarray(ts)[:-1] - t))
    return denoisers.denoiser_from_network(lambda x, t: table[k(t), 0] * x + table[k(t), 1], SCHEDULE, "x0")


def exact_table(data, ts):
    """The table of the exact denoiser of a Gaussian."""
    exact = denoisers.exact_denoiser(data, SCHEDULE)
    at = lambda x: jnp.stack([exact(jnp.full((1, 1), x), t).x0[0, 0] for t in ts[:-1]])
    return jnp.stack([at(1.0) - at(0.0), at(0.0)], axis=1)


def marginal(t):
    """The mean and the variance of the noised data."""
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    return -0.5 * alpha, alpha**2 * 0.49 + sigma**2


def steps(table, ts):
    """Of ``x_s = gain x + shift + std z`` all three, ``(n,)``, and the derivative of the mean by x0."""
    rows, alpha, sigma = SOLVER.plan(SCHEDULE, ts), SCHEDULE.alpha(ts[:-1]), SCHEDULE.sigma(ts[:-1])
    by_x0 = rows.x0 - rows.eps * alpha / sigma
    return by_x0 * table[:, 0] + rows.eps / sigma, by_x0 * table[:, 1], rows.std, by_x0


def law(table, ts, start=None):
    """The mean and the variance of the samples; and the KL divergence of the paths from those of the exact model."""
    (g, h, std, _), (g_ref, h_ref, *_) = steps(table, ts), steps(exact_table(DATA, ts), ts)
    (m, v), kl = marginal(ts[0]) if start is None else start, 0.0
    for k in range(len(ts) - 1):
        if std[k] > 0:
            kl += (jnp.square((g[k] - g_ref[k]) * m + h[k] - h_ref[k]) + jnp.square(g[k] - g_ref[k]) * v) / std[k] ** 2
        m, v = g[k] * m + h[k], jnp.square(g[k]) * v + jnp.square(std[k])
    return m, v, 0.5 * kl


def objective(table, ts, kl=TEMPERATURE):
    """``-E r + kl KL``."""
    m, v, divergence = law(table, ts)
    return 0.5 * (jnp.square(m - CENTRE) + v) + kl * divergence


def optimum(ts):
    """The table with the least objective, by dynamic programming; the last step, without noise, is the exact one."""
    table = np.array(exact_table(DATA, ts))
    g, h, std, by_x0 = (np.asarray(x, float) for x in steps(table, ts))
    p, q = 1 / TEMPERATURE, -CENTRE / TEMPERATURE  # the value is p x^2 / 2 + q x + const
    for k in reversed(range(len(ts) - 1)):
        shrink = 1 / (1 + std[k] ** 2 * p)  # the mean moves from m to (m - std^2 q) shrink
        gain, shift = g[k] * shrink, (h[k] - std[k] ** 2 * q) * shrink
        if std[k] > 0:
            table[k] += np.array([gain - g[k], shift - h[k]]) / by_x0[k]
        p, q = g[k] ** 2 * p * shrink, g[k] * shrink * (p * h[k] + q)
    return jnp.asarray(table)


def agrees(values, expected=0.0, errors=5.0):
    """Whether means over the first axis are the expected ones within some standard errors."""
    values, expected = np.asarray(values), np.asarray(expected)
    error = values.std(axis=0) / np.sqrt(len(values)) + 1e-6
    return np.all(np.abs(values.mean(axis=0) - expected) < errors * error)


def starts(ts, count):
    """States at the first time, ``(count, 1)``."""
    mean, variance = marginal(ts[0])
    return mean + jnp.sqrt(variance) * jax.random.normal(jax.random.key(7), (count, 1))

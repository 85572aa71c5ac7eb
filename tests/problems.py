"""Problems with known answers that several files share; functions, since the precision may be enabled later."""

import jax.numpy as jnp
import numpy as np

from scorekit import Prediction, densities

COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.8]])


def plane():
    """A Gaussian in two dimensions that are correlated."""
    return densities.gaussian(jnp.array([0.3, -0.2]), covariance=COVARIANCE)


def low_rank_mixture(spread=2.0):
    """Three modes in 64 dimensions, each of them wide in four directions."""
    rng = np.random.default_rng(0)
    draw = lambda: densities.gaussian(spread * rng.normal(size=64), std=0.3, factor=rng.normal(size=(64, 4)))
    return densities.mixture(np.ones(3), [draw() for _ in range(3)])


def level(schedule, t):
    """``(alpha, sigma)``."""
    return schedule.alpha(t), schedule.sigma(t)


def moved(data, schedule, x, t, s):
    """The exact flow of Gaussian data from t to s."""
    return data.flow(x, level(schedule, t), level(schedule, s))


def agrees(values, expected=0.0, errors=5.0):
    """Whether means over the first axis are the expected ones, within some standard errors."""
    values = np.asarray(values, float)
    error = values.std(axis=0) / np.sqrt(len(values)) + 1e-6
    return np.all(np.abs(values.mean(axis=0) - expected) < errors * error)


def of_leaves(**denoisers):
    """The denoiser of a dictionary of independent arrays from one for each."""

    def denoiser(x, t):
        each = {name: one(x[name], t) for name, one in denoisers.items()}
        return Prediction({k: v.x0 for k, v in each.items()}, {k: v.eps for k, v in each.items()})

    return denoiser


def doubling_steps(n, low, high):
    """Values from ``low`` to ``high`` in steps of one n-th, after a few that double from the square of that: the first,
    low-order steps of a multistep method cost little."""
    h = (high - low) / n
    steps = [h]
    while steps[-1] > 0.5 * h**2:
        steps.append(steps[-1] / 2)
    first = low + np.cumsum(steps[::-1])
    return np.concatenate([[low], first, np.linspace(first[-1], high, round((high - first[-1]) / h) + 1)[1:]])


def lagged(size, coefficient):
    """The covariance ``coefficient^|i - j|`` of a stationary first-order autoregression."""
    return coefficient ** np.abs(np.subtract.outer(np.arange(size), np.arange(size)))


def posterior(mean, covariance, matrix, y, noise_std):
    """Mean and covariance of Gaussian data given ``y = matrix x + noise``; y may have leading axes."""
    gain = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T + noise_std**2 * np.eye(len(matrix)))
    return mean + (y - matrix @ mean) @ gain.T, covariance - gain @ matrix @ covariance


GAUSSIANS = {
    "1 dimension": lambda: densities.gaussian(jnp.array([0.4]), std=0.3),
    "2 dimensions": plane,
    "9 dimensions": lambda: densities.gaussian(jnp.linspace(-1, 1, 9), std=0.2, factor=jnp.eye(9, 2)),
}
"""Gaussians in one, two and many dimensions."""


def samples_agree(x, mean, covariance, sigmas=5.0):
    """Mean and covariance of normal samples ``(N, D)`` are these, within their standard errors."""
    x, covariance = np.asarray(x, np.float64), np.asarray(covariance, np.float64)
    variance = np.diag(covariance)
    np.testing.assert_array_less(np.abs(x.mean(0) - mean), sigmas * np.sqrt(variance / len(x)))
    spread = np.sqrt((np.outer(variance, variance) + covariance**2) / len(x))
    np.testing.assert_array_less(np.abs(np.atleast_2d(np.cov(x.T)) - covariance), sigmas * spread)

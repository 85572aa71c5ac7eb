"""Mixtures of four modes, rewards, tilted laws and limits of methods, all exact, and scores of samples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, schedules

SCHEDULE = schedules.Cosine()
REWARDS = ("quadratic", "kink")


class Problem(NamedTuple):
    """Data, ``x -> r``, the tilted law, and data tilted by ``1 + exp(r / lambda)``; r is at most 0."""

    data: densities.Mixture
    reward: Callable
    tilted: Any
    raised: Any


def problem(dim: int, name: str, temperature: float) -> Problem:
    """A quadratic reward of two coordinates, or ``-2 |x_0 - 0.3|``, of a mixture."""
    means = 0.5 * np.random.default_rng(0).normal(size=(4, dim))
    means[:, :2] = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    data = densities.mixture(
        np.array([4, 3, 2, 1]), [densities.gaussian(jnp.asarray(m, jnp.float32), std=0.4) for m in means]
    )
    if name == "kink":
        reward = lambda x: -2.0 * jnp.abs(x[..., 0] - 0.3)
        of = lambda f: densities.tilt(data, lambda a: f(reward(a) / temperature), (0,), 201)
        return Problem(data, reward, of(lambda r: r), of(lambda r: jnp.log1p(jnp.exp(r))))
    seen, centre = jnp.zeros(dim).at[:2].set(2.0), jnp.zeros(dim).at[:2].set(jnp.array([0.8, 0.4]))
    reward = lambda x: -0.5 * jnp.sum(seen * jnp.square(x - centre), -1)
    tilt = lambda a: densities.quadratic_tilt(data, a * centre, jnp.diag(a))
    (plain, _), (tilted, log_z) = tilt(0 * seen), tilt(seen / temperature)  # plain: data with full covariances
    assert isinstance(plain, densities.Mixture)
    assert isinstance(tilted, densities.Mixture)
    log_z = log_z - 0.5 * jnp.sum(seen * centre**2) / temperature
    log_weights = jnp.concatenate([plain.log_weights, tilted.log_weights + log_z])
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), plain.components, tilted.components)
    raised = densities.Mixture(log_weights=jax.nn.log_softmax(log_weights), components=both)
    return Problem(data, reward, tilted, raised)


def velocity(density) -> Callable:
    """The exact v ``(x_t, t) -> v`` of a density."""
    exact = denoisers.exact_denoiser(density, SCHEDULE)

    def network(x, t):
        at, (x0, eps) = jnp.reshape(t, (-1, 1)), exact(x, t)
        return SCHEDULE.alpha(at) * eps - SCHEDULE.sigma(at) * x0

    return network


def nft_limit(p: Problem) -> Callable:
    """``v + 2 Cov(w, v | x_t)`` of ``w = exp(r / lambda)``, from the v of data times w and times 1 + w."""
    data, tilted, raised = map(velocity, (p.data, p.tilted, p.raised))

    def network(x, t):
        v = data(x, t)
        a, b = tilted(x, t) - v, raised(x, t) - v  # Cov / E[w], Cov / (1 + E[w])
        share = jnp.sum(a * b, -1, keepdims=True) / jnp.maximum(jnp.sum(a * a, -1, keepdims=True), 1e-30)
        return v + 2.0 * a * share / (1.0 - share)

    return network


def start(key, p: Problem, t, count: int):
    return p.data.marginal(SCHEDULE.alpha(t), SCHEDULE.sigma(t)).sample(key, (count,))


def energy_test(x: np.ndarray, y: np.ndarray, seed: int = 0, permutations: int = 200) -> tuple[float, float]:
    """The energy distance of two sets of equal size (with the distances of a point to itself) and its p-value."""
    both, n = np.concatenate([x, y]).astype(np.float32), len(x)
    squares = np.sum(both**2, 1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * both @ both.T, 0))
    signs = np.where(np.arange(2 * n) < n, 1, -1).astype(np.float32)
    random = np.random.default_rng(seed)
    signs = np.stack([signs, *(random.permutation(signs) for _ in range(permutations))], 1)
    values = -np.sum(signs * (apart @ signs), 0) / n**2
    return float(values[0]), float(np.mean(values >= values[0]))


def lost(data: densities.Mixture, x, exact) -> float:
    """The weight in exact samples of the modes of which x has less than half."""
    has, due = (np.asarray(data.responsibilities(s)).mean(0) for s in (x, exact))
    return float(np.sum(due[has < 0.5 * due]))

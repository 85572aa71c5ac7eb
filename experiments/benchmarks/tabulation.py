"""Tuning of the multistep sampler that ``experiments.benchmarks.few_steps_tuning`` describes, on random mixtures."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scorekit import densities, schedules
from scorekit.typing import Array

TOP = float(np.arctan(80.0))
SLOPES = 5  # that a step combines


class Problems(NamedTuple):
    """Mixtures of one shape, stacked: noise ``(P, B, D)`` and the ends of the exact flow from it."""

    mixtures: densities.Mixture
    noise: Array
    ends: Array


def random_mixture(rng: np.random.Generator, dim: int, modes: int = 8) -> densities.Mixture:
    """Modes at random places, in a cloud, near a line or with outliers, of random shapes; the variance is near 1."""
    weights, rank = rng.dirichlet(np.full(modes, 2.0)), {2: 1, 8: 3, 64: 8}[dim]
    means = rng.normal(size=(modes, dim))
    match rng.integers(3):
        case 0:
            means = 0.3 * means + rng.normal(size=(modes, 1)) * rng.normal(size=(1, dim))
        case 1:
            means *= np.exp(0.7 * rng.normal(size=(modes, 1)))
    means -= weights @ means
    means /= np.sqrt(np.mean(weights @ means**2))
    log_uniform = lambda low, high, *shape: np.exp(rng.uniform(np.log(low), np.log(high), shape))
    stds = log_uniform(0.03, 0.3, modes) if rng.random() < 0.5 else np.full(modes, log_uniform(0.03, 0.3))
    bases = [np.linalg.qr(rng.normal(size=(dim, rank)))[0] for _ in range(modes)]
    factors = [basis * log_uniform(0.2, 4.0, rank) for basis in bases]
    share = rng.uniform(0.1, 0.7) if dim > 2 else rng.choice([1e-6, 0.02, 0.1, 0.4])  # of the variance within modes
    within = weights @ np.array([np.sum(f**2) for f in factors]) / dim
    factors = [np.sqrt(share / within) * f for f in factors]
    means = np.sqrt(1.0 - share) * means
    scale = np.exp(rng.uniform(-0.2, 0.2)) / np.sqrt(1.0 + weights @ stds**2)
    means = scale * (means + (rng.random() < 0.5) * 0.3 * rng.normal(size=dim))
    parts = zip(means, scale * stds, factors, strict=True)
    return densities.mixture(
        weights, [densities.gaussian(jnp.asarray(m), std=s, factor=scale * f) for m, s, f in parts]
    )


def slope(data: densities.Mixture, u: Array, angle: Array) -> Array:
    """``du / d angle = (alpha u - x0) / sigma`` on the circle ``alpha^2 + sigma^2 = 1``."""
    alpha, sigma = jnp.cos(angle), jnp.sin(angle)
    return (alpha * u - data.predict(u, alpha, sigma).x0) / sigma


def exact_flow(data: densities.Mixture, noise: Array, steps: int = 120) -> Array:
    """Runge-Kutta of order 4 on fine steps from ``sigma / alpha = 80``, and of order 2 in the last, tiny one."""
    levels = vp_angles(steps, 3.0)

    def body(u, ends):
        a, h = ends[0], ends[1] - ends[0]
        k1 = slope(data, u, a)
        k2 = slope(data, u + h / 2 * k1, a + h / 2)
        k3 = slope(data, u + h / 2 * k2, a + h / 2)
        k4 = slope(data, u + h * k3, a + h)
        return u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    u, _ = jax.lax.scan(body, jnp.sin(TOP) * noise, (levels[:-2], levels[1:-1]))
    last = levels[-2]
    return u - last * slope(data, u - last / 2 * slope(data, u, last), last / 2)


def vp_angles(steps: int, power: float) -> Array:
    """The angles of a power grid on linear VP, from ``TOP`` to 0."""
    vp = schedules.linear_vp()
    ts = jnp.linspace(vp.time_at(jnp.asarray(-2.0 * np.log(80.0))) ** (1 / power), 0.0, steps + 1) ** power
    return jnp.arctan2(vp.sigma(ts), vp.alpha(ts)).at[0].set(TOP).at[-1].set(0.0)


def make_problems(seed: int, sizes: Mapping[int, tuple[int, int]]) -> list[Problems]:
    """The family of mixtures of a seed, as many for each number of dimensions, and with as many draws from each."""
    rng, found = np.random.default_rng(seed), []
    for dim, (count, draws) in sizes.items():
        data = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(random_mixture(rng, dim) for _ in range(count)))
        noise = jax.random.normal(jax.random.key(1000 * seed + dim), (count, draws, dim))
        ends = jax.jit(lambda data, noise: jax.lax.map(lambda pair: exact_flow(*pair), (data, noise)))(data, noise)
        found.append(Problems(data, noise, ends))
    return found


class Table(NamedTuple):
    """A sampler of n evaluations.

    Attributes:
      angles: ``(n + 1,)``, from ``TOP`` to 0.
      evaluations: ``(n,)``, where the slopes are taken: the angles but for the first.
      keep: ``d``, ``(n,)``.
      weights: ``(n, SLOPES)``, newest first.
    """

    angles: Array
    evaluations: Array
    keep: Array
    weights: Array


def initial(n: int) -> dict[str, Array]:
    """Free parameters of Adams-Bashforth on a power grid."""
    return {
        "gaps": jnp.log(-jnp.diff(vp_angles(n, 2.5))),
        "first": jnp.zeros(()),
        "keep": jnp.zeros(n),
        "weights": jnp.zeros((n, SLOPES)),
    }


def table_of(free: dict[str, Array]) -> Table:
    """The sampler of these free parameters: changes of the weights of Adams-Bashforth on its own grid."""
    n = free["keep"].shape[0]
    gaps = TOP * jax.nn.softmax(free["gaps"])
    angles = jnp.append(jnp.cumsum(gaps[::-1])[::-1], 0.0)
    first = angles[1] + (TOP - angles[1]) * jax.nn.sigmoid(free["first"])
    evaluations = angles[:-1].at[0].set(first)
    k, j = np.arange(n)[:, None], np.arange(SLOPES)
    exists = j <= k
    order = np.minimum(k, 2 if n < 10 else 3)
    used = j <= order  # (n, SLOPES)
    nodes = (evaluations[np.maximum(k - j, 0)] - angles[:-1, None]) / jnp.diff(angles)[:, None]
    both = used[:, :, None] & used[:, None, :]
    powers = jnp.where(both, nodes[:, None, :] ** j[:, None], np.eye(SLOPES))
    moments = jnp.where(used, 1.0 / (j + 1.0), 0.0)
    weights = jnp.linalg.solve(powers, moments[..., None])[..., 0]
    return Table(angles, evaluations, 0.05 * free["keep"], weights + 0.3 * jnp.where(exists, free["weights"], 0.0))


def draw(table: Table, data: densities.Mixture, noise: Array) -> Array:
    """The samples of this noise."""

    def body(carry, step):
        u, slopes = carry
        angle, change, keep, weights = step
        slopes = jnp.concatenate([slope(data, u, angle)[None], slopes[:-1]])
        return ((1.0 + keep) * u + change * jnp.tensordot(weights, slopes, 1), slopes), None

    rows = (table.evaluations, jnp.diff(table.angles), table.keep, table.weights)
    start = jnp.sin(TOP) * noise, jnp.zeros((SLOPES, *noise.shape))
    return jax.lax.scan(body, start, rows)[0][0]


def log_errors(table: Table, problems: Problems) -> tuple[Array, Array]:
    """The logarithms of mean and root mean square over draws of the RMSE of a draw, of each mixture."""
    x = jax.vmap(lambda data, noise: draw(table, data, noise))(problems.mixtures, problems.noise)
    square = jnp.mean((x - problems.ends) ** 2, -1) + 1e-18
    return jnp.log(jnp.mean(jnp.sqrt(square), 1)), 0.5 * jnp.log(jnp.mean(square, 1))


def tune(n: int, problems: list[Problems], updates: int, rate: float) -> Table:
    """The sampler of n evaluations with the smallest loss."""
    optimiser = optax.adam(optax.cosine_decay_schedule(rate / n, updates))

    @jax.jit
    def update(free, state, problems):
        def loss(free):
            table = table_of(free)
            return jnp.mean(jnp.concatenate([0.5 * sum(log_errors(table, each)) for each in problems]))

        value, gradient = jax.value_and_grad(loss)(free)
        change, state = optimiser.update(gradient, state)
        return optax.apply_updates(free, change), state, value

    free: Any = initial(n)
    state, begin = optimiser.init(free), time.monotonic()
    for i in range(updates):
        free, state, value = update(free, state, problems)
        if i % 50 == 0 or i == updates - 1:
            print(
                f"{n} evaluations, update {i + 1}/{updates}: {value:.4f}, {time.monotonic() - begin:.0f} s", flush=True
            )
    return table_of(free)

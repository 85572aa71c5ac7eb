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
MOST = 24  # steps; shorter tables are padded to them, so that one compiled update tunes all
CLASSES = 3  # of the modes of a mixture


class Problems(NamedTuple):
    """Mixtures of one shape, stacked: the modes in the class of each draw ``(P, B, K)``, noise ``(P, B, D)``, ends."""

    mixtures: densities.Mixture
    in_class: Array
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
    stds = np.asarray(log_uniform(0.03, 0.3, modes) if rng.random() < 0.5 else np.full(modes, log_uniform(0.03, 0.3)))
    bases = np.stack([np.linalg.qr(rng.normal(size=(dim, rank)))[0] for _ in range(modes)])
    along = log_uniform(0.2, 4.0, modes, rank) * np.exp(0.3 * rng.normal(size=(modes, 1)))
    share = rng.uniform(0.1, 0.9) if dim > 2 else rng.choice([1e-6, 0.02, 0.1, 0.4])  # of the variance within modes
    along *= np.sqrt(share * dim / (weights @ np.sum(along**2, 1)))
    means *= np.sqrt(1.0 - share)
    scale = np.exp(rng.uniform(-0.2, 0.2)) / np.sqrt(1.0 + weights @ stds**2)
    means = scale * (means + (rng.random() < 0.5) * 0.3 * rng.normal(size=dim))
    variances, residual = scale**2 * (along**2 + stds[:, None] ** 2), jnp.asarray(scale**2 * stds**2)
    mean, basis, variances = jnp.asarray(means), jnp.asarray(bases), jnp.asarray(variances)
    parts = densities.Gaussian(mean=mean, basis=basis, variances=variances, residual=residual)
    return densities.Mixture(log_weights=jnp.log(weights), components=parts)


def slope(data: densities.Mixture, in_class: Array, scale: Array, u: Array, angle: Array) -> Array:
    """``du / d angle = (alpha u - x0) / sigma`` on the circle ``alpha^2 + sigma^2 = 1``.

    The guided ``x0`` is the sum of the modes' own with the weights ``p + scale (q - p)``, of the responsibilities of
    the mixture and of the class; everything is a product of matrices, which is fast.
    """
    alpha, sigma, parts = jnp.cos(angle), jnp.sin(angle), data.components
    clean = jnp.concatenate([parts.variances, jnp.asarray(parts.residual)[:, None]], 1)
    noisy = alpha**2 * clean + sigma**2
    inner = jnp.einsum("bd,kdr->bkr", u, parts.basis) - alpha * jnp.einsum("kd,kdr->kr", parts.mean, parts.basis)
    square = jnp.sum((u[:, None] - alpha * parts.mean) ** 2, -1)
    outer = (square - jnp.sum(inner**2, -1)) / noisy[:, -1]
    rest = data.dim - parts.variances.shape[1]
    log_det = jnp.sum(jnp.log(noisy[:, :-1]), 1) + rest * jnp.log(noisy[:, -1])
    logits = data.log_weights - 0.5 * (jnp.sum(inner**2 / noisy[:, :-1], -1) + outer + log_det)
    own, of_class = jax.nn.softmax(logits), jax.nn.softmax(jnp.where(in_class, logits, -1e30))
    weights = own + scale * (of_class - own)
    gain = alpha * clean / noisy
    along, across = gain[:, :-1] - gain[:, -1:], gain[:, -1]
    x0 = (weights * (1.0 - alpha * across)) @ parts.mean + (weights @ across)[:, None] * u
    x0 += jnp.einsum("bkr,kdr->bd", weights[..., None] * along * inner, parts.basis)
    return (alpha * u - x0) / sigma


def exact_flow(data: densities.Mixture, in_class: Array, scale: Array, noise: Array, steps: int = 160) -> Array:
    """Runge-Kutta of order 4 on fine steps from ``sigma / alpha = 80``, and of order 2 in the last, tiny one."""
    vp = schedules.linear_vp()
    ts = jnp.linspace(vp.time_at(jnp.asarray(-2.0 * np.log(80.0))) ** (1 / 3.0), 0.0, steps + 1) ** 3.0
    levels = jnp.arctan2(vp.sigma(ts), vp.alpha(ts)).at[0].set(TOP).at[-1].set(0.0)
    nodes = jnp.broadcast_to(jnp.array([0.0, 0.5, 0.5, 1.0]), (steps, 4)).at[-1, 3].set(0.5)
    weights = jnp.broadcast_to(jnp.array([1.0, 2.0, 2.0, 1.0]) / 6.0, (steps, 4)).at[-1].set(jnp.arange(4) == 1)

    def body(u, step):
        angle, change, *stages = step

        def stage(carry, stage):
            (last, total), (node, weight) = carry, stage
            last = slope(data, in_class, scale, u + change * node * last, angle + change * node)
            return (last, total + weight * last), None

        (_, total), _ = jax.lax.scan(stage, (jnp.zeros_like(u), jnp.zeros_like(u)), tuple(stages))
        return u + change * total, None

    return jax.lax.scan(body, jnp.sin(TOP) * noise, (levels[:-1], jnp.diff(levels), nodes, weights))[0]


def make_problems(seed: int, sizes: Mapping[int, tuple[int, int]], scale: float = 0.0) -> list[Problems]:
    """The family of mixtures of a seed, as many for each number of dimensions, and with as many draws from each."""
    rng, found = np.random.default_rng(seed), []
    solve = jax.jit(lambda scale, *each: jax.lax.map(lambda one: exact_flow(one[0], one[1], scale, one[2]), each))
    for dim, (count, draws) in sizes.items():
        data = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(random_mixture(rng, dim) for _ in range(count)))
        modes = data.log_weights.shape[1]
        of_mode = np.stack([rng.permutation(modes) % CLASSES for _ in range(count)])
        in_class = jnp.asarray(of_mode[:, None] == np.arange(draws)[:, None] % CLASSES)
        noise = jax.random.normal(jax.random.key(1000 * seed + dim), (count, draws, dim))
        found.append(Problems(data, in_class, noise, solve(scale, data, in_class, noise)))
    return found


class Table(NamedTuple):
    """A sampler of n evaluations, padded by zeros to N of them.

    Attributes:
      angles: ``(N + 1,)``, from ``TOP`` to 0.
      evaluations: ``(N,)``, where the slopes are taken: the angles but for the first.
      keep: ``d``, ``(N,)``.
      weights: ``(N, SLOPES)``, newest first.
    """

    angles: Array
    evaluations: Array
    keep: Array
    weights: Array


def adams(table: Table) -> Array:
    """The weights of Adams-Bashforth, of order 3 below 10 steps, else 4: integrals of Lagrange polynomials."""
    k, j = np.arange(len(table.keep))[:, None], np.arange(SLOPES)
    changes = jnp.diff(table.angles)
    order = jnp.where(jnp.sum(changes < 0.0) < 10, 2, 3)
    used = (j <= jnp.minimum(k, order)) & (changes < 0.0)[:, None]
    nodes = table.evaluations[np.maximum(k - j, 0)] - table.angles[:-1, None]
    nodes = (nodes / jnp.where(changes < 0.0, changes, 1.0)[:, None])[..., None]
    total = jnp.ones((*used.shape, 2), nodes.dtype)
    points = 0.5 + np.array([-0.5, 0.5], nodes.dtype) / np.sqrt(3.0)  # of Gauss, exact for polynomials of degree 3
    for i in range(SLOPES - 1):
        other = (used & used[:, i : i + 1] & (j != i))[..., None]
        factor = (points - nodes[:, i : i + 1]) / jnp.where(other, nodes - nodes[:, i : i + 1], 1.0)
        total *= jnp.where(other, factor, 1.0)
    return jnp.where(used, jnp.mean(total, -1), 0.0)


def free_of(table: Table, n: int) -> dict[str, Array]:
    """Free parameters of a sampler of n evaluations near that of the table, which has another number of them or n."""
    have = len(table.keep)
    at = np.linspace(0.0, have - 1.0, n)
    spread = jax.vmap(lambda column: jnp.interp(at, np.arange(have), column), 1, 1)
    angles = jnp.interp(np.linspace(0.0, have, n + 1), np.arange(have + 1), table.angles)
    part = (table.evaluations[0] - table.angles[1]) / (TOP - table.angles[1])
    free = {
        "gaps": jnp.log(-jnp.diff(angles)),
        "keep": spread(table.keep[:, None])[:, 0] / 0.05,
        "weights": spread(table.weights - adams(table)) / 0.3,
    }
    pad = lambda name, leaf: jnp.pad(
        leaf, [(0, MOST - n), *[(0, 0)] * (leaf.ndim - 1)], constant_values=-jnp.inf if name == "gaps" else 0.0
    )
    return {name: pad(name, leaf) for name, leaf in free.items()} | {"first": jnp.log(part / (1.0 - part))}


def table_of(free: dict[str, Array]) -> Table:
    """The sampler of these free parameters: changes of the weights of Adams-Bashforth on its own grid."""
    active = free["gaps"] > -jnp.inf
    gaps = TOP * jax.nn.softmax(free["gaps"])
    angles = jnp.append(jnp.cumsum(gaps[::-1])[::-1], 0.0)
    first = angles[1] + (TOP - angles[1]) * jax.nn.sigmoid(free["first"])
    exists = (jnp.arange(SLOPES) <= jnp.arange(MOST)[:, None]) & active[:, None]
    table = Table(angles, angles[:-1].at[0].set(first), 0.05 * jnp.where(active, free["keep"], 0.0), exists)
    return table._replace(weights=adams(table) + 0.3 * jnp.where(exists, free["weights"], 0.0))


def draw(table: Table, data: densities.Mixture, in_class: Array, scale: Array, noise: Array) -> Array:
    """The samples of this noise."""

    def body(carry, step):
        def move(carry):
            (u, slopes), (angle, change, keep, weights) = carry, step
            slopes = jnp.concatenate([slope(data, in_class, scale, u, angle)[None], slopes[:-1]])
            return (1.0 + keep) * u + change * jnp.tensordot(weights, slopes, 1), slopes

        return jax.lax.cond(step[1] < 0.0, move, lambda carry: carry, carry), None

    rows = (table.evaluations, jnp.diff(table.angles), table.keep, table.weights)
    start = jnp.sin(jnp.asarray(TOP, noise.dtype)) * noise, jnp.zeros((SLOPES, *noise.shape), noise.dtype)
    return jax.lax.scan(body, start, rows)[0][0]


def log_errors(table: Table, problems: Problems, scale: Array) -> tuple[Array, Array]:
    """The logarithms of mean and root mean square over draws of the RMSE of a draw, of each mixture."""
    mixtures, in_class, noise, ends = problems
    x = jax.vmap(lambda data, in_class, noise: draw(table, data, in_class, scale, noise))(mixtures, in_class, noise)
    square = jnp.mean((x - ends) ** 2, -1) + 1e-14
    return jnp.log(jnp.mean(jnp.sqrt(square), 1)), 0.5 * jnp.log(jnp.mean(square, 1))


def loss(free: dict[str, Array], problems: list[Problems], scale: Array) -> Array:
    """The mean over mixtures of both logarithms."""
    table = table_of(free)
    return jnp.mean(jnp.concatenate([0.5 * sum(log_errors(table, each, scale)) for each in problems]))


def batch(rng: np.random.Generator, problems: Problems) -> Problems:
    """Three eighths of the mixtures and of the draws, at random."""
    mixtures, draws = (rng.permutation(size)[: max(1, 3 * size // 8)] for size in problems.noise.shape[:2])
    of_draws = [leaf[mixtures][:, draws] for leaf in problems[1:]]
    return Problems(jax.tree.map(lambda leaf: leaf[mixtures], problems.mixtures), *of_draws)


def tune(free: Any, problems: list[Problems], scale: float, updates: int, rate: float) -> Table:
    """The sampler that Adam finds from these free parameters, on other mixtures and draws in each update."""
    n, begin, rng = int(np.sum(free["gaps"] > -np.inf)), time.monotonic(), np.random.default_rng(0)
    state = optax.adam(0.0).init(free)
    for i in range(updates):
        now = rate / n * 0.5 * (1.0 + np.cos(np.pi * i / updates))
        free, state, value = _update(free, state, [batch(rng, each) for each in problems], scale, now)
        if i % 50 == 0 or i == updates - 1:
            print(
                f"{n} evaluations, guidance scale {scale:g}, update {i + 1}/{updates}: {value:.4f}, "
                f"{time.monotonic() - begin:.0f} s",
                flush=True,
            )
    angles, *others = table_of(free)
    return Table(angles[: n + 1], *(column[:n] for column in others))


@jax.jit
def _update(free, state, problems, scale, rate):
    value, gradient = jax.value_and_grad(loss)(free, problems, scale)
    change, state = optax.adam(rate).update(gradient, state)
    return optax.apply_updates(free, change), state, value

"""Makes the table of :func:`scorekit.samplers.few_steps`: noise levels and weights for few evaluations.

    python tests/golden/tune_few_steps.py 8 --out=/tmp/few_steps.json
    python tests/golden/tune_few_steps.py 8 16 --guidance_scale=4 --rate=0.05 --updates=1200

The sampler works on ``u = x / hypot(alpha, sigma)`` by the angle ``atan(sigma / alpha)``, on which data of variance 1
stand still. Step k from angle ``a_k`` to ``a_k+1`` has free weights of the last five slopes, and a free factor of u:

    ``u_k+1 = (1 + d_k) u_k + (a_k+1 - a_k) sum_j w_kj v(u_k-j, a_k-j)``

It begins at ``sigma / alpha = 80``; the first slope is taken at a free, lower level, since at the beginning a network
can only return the mean of the data. All are optimised by Adam on random mixtures of Gaussians, whose variance is near
1, in 2, 8 and 64 dimensions: on the logarithm of the distance to the exact flow from the same noise, as mean and as
root mean square over draws, averaged over the mixtures. With a guidance scale, each draw is guided to one of three
classes of the modes. Tuning starts from the nearest table that there is, of the next lower guidance scale or number of
evaluations, and the file that is written holds the other tables too: it replaces ``scorekit/samplers/few_steps.json``.
``experiments.benchmarks.quality --table=few_steps`` compares the result with other solvers and grids, on other
distributions.
"""

import argparse
import json
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.typing import Array

Tables = dict[str, dict[str, list[list[float]]]]
SIZES = {2: (16, 128), 8: (8, 64), 64: (8, 32)}  # numbers of mixtures, and of draws from each, by dimensions
TOP = float(np.arctan(80.0))
SLOPES = 5  # that a step combines
CLASSES = 3  # of the modes of a mixture


class Problems(NamedTuple):
    """Mixtures of one shape, stacked, and draws of noise with the ends of their flows."""

    mixtures: densities.Mixture
    in_class: Array  # the modes in the class of each draw (P, B, K)
    noise: Array  # (P, B, D)
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
    leaves = {"mean": means, "basis": bases, "residual": scale**2 * stds**2}
    leaves["variances"] = scale**2 * (along**2 + stds[:, None] ** 2)
    parts = densities.Gaussian(**jax.tree.map(jnp.asarray, leaves))
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
    """The end of the probability-flow ODE from this noise at ``sigma / alpha = 80``, by Runge-Kutta on fine steps."""
    vp = schedules.LinearVP()  # on which u is x
    ts = jnp.linspace(vp.time_at(jnp.asarray(-2.0 * np.log(80.0))) ** (1 / 3.0), 0.0, steps + 1) ** 3.0

    def x0(x, t):
        alpha, sigma = vp.alpha(t), vp.sigma(t)
        return alpha * x - sigma * slope(data, in_class, scale, x, jnp.arctan2(sigma, alpha))

    denoiser = denoisers.denoiser_from_network(x0, vp, "x0")
    return samplers.sample(denoiser, vp, solvers.RK4(), jnp.sin(TOP) * noise, ts)


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
    """A sampler of n evaluations."""

    angles: Array  # (n + 1,), from TOP to 0
    evaluations: Array  # (n,), where the slopes are taken: the angles but for the first
    keep: Array  # (n,), the factors d
    weights: Array  # (n, SLOPES), newest first


def adams(angles: Array, evaluations: Array) -> Array:
    """The weights of Adams-Bashforth, of order 3 below 10 steps, else 4: integrals of Lagrange polynomials."""
    n = len(evaluations)
    k, j = np.arange(n)[:, None], np.arange(SLOPES)
    used = j <= np.minimum(k, 2 if n < 10 else 3)
    nodes = ((evaluations[np.maximum(k - j, 0)] - angles[:-1, None]) / jnp.diff(angles)[:, None])[..., None]
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
    return {
        "gaps": jnp.log(-jnp.diff(angles)),
        "first": jnp.log(part / (1.0 - part)),
        "keep": spread(table.keep[:, None])[:, 0] / 0.05,
        "weights": spread(table.weights - adams(table.angles, table.evaluations)) / 0.3,
    }


def table_of(free: dict[str, Array]) -> Table:
    """The sampler of these free parameters: changes of the weights of Adams-Bashforth on its own grid."""
    gaps = TOP * jax.nn.softmax(free["gaps"])
    angles = jnp.append(jnp.cumsum(gaps[::-1])[::-1], 0.0)
    evaluations = angles[:-1].at[0].set(angles[1] + (TOP - angles[1]) * jax.nn.sigmoid(free["first"]))
    change = jnp.where(np.arange(SLOPES) <= np.arange(len(gaps))[:, None], free["weights"], 0.0)
    return Table(angles, evaluations, 0.05 * free["keep"], adams(angles, evaluations) + 0.3 * change)


def draw(table: Table, data: densities.Mixture, in_class: Array, scale: Array, noise: Array) -> Array:
    """The samples of this noise."""

    def step(carry, row):
        (u, slopes), (angle, change, keep, weights) = carry, row
        slopes = jnp.concatenate([slope(data, in_class, scale, u, angle)[None], slopes[:-1]])
        return ((1.0 + keep) * u + change * jnp.tensordot(weights, slopes, 1), slopes), None

    start = jnp.sin(jnp.asarray(TOP, noise.dtype)) * noise, jnp.zeros((SLOPES, *noise.shape), noise.dtype)
    return jax.lax.scan(step, start, (table.evaluations, jnp.diff(table.angles), table.keep, table.weights))[0][0]


def loss(free: dict[str, Array], problems: list[Problems], scale: Array) -> Array:
    """The log of the RMSE of a draw as mean and as root mean square over draws, averaged over the mixtures."""
    table, logs = table_of(free), []
    for mixtures, in_class, noise, ends in problems:
        x = jax.vmap(lambda data, in_class, noise: draw(table, data, in_class, scale, noise))(mixtures, in_class, noise)
        square = jnp.mean((x - ends) ** 2, -1) + 1e-14
        logs.append(0.5 * jnp.log(jnp.mean(jnp.sqrt(square), 1)) + 0.25 * jnp.log(jnp.mean(square, 1)))
    return jnp.mean(jnp.concatenate(logs))


def batch(rng: np.random.Generator, problems: Problems) -> Problems:
    """Three eighths of the mixtures and of the draws, at random."""
    some, draws = (rng.permutation(size)[: max(1, 3 * size // 8)] for size in problems.noise.shape[:2])
    mixtures = jax.tree.map(lambda leaf: leaf[some], problems.mixtures)
    return Problems(mixtures, *(leaf[some][:, draws] for leaf in problems[1:]))


def tune(free: Any, problems: list[Problems], scale: float, updates: int, rate: float) -> Table:
    """The sampler that Adam finds from these free parameters, on other mixtures and draws in each update."""
    n, begin, rng = len(free["gaps"]), time.monotonic(), np.random.default_rng(0)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate / n, updates))
    state = optimizer.init(free)

    @jax.jit
    def update(free, state, problems):
        value, gradient = jax.value_and_grad(loss)(free, problems, scale)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(free, change), state, value

    for i in range(updates):
        free, state, value = update(free, state, [batch(rng, each) for each in problems])
        if i % 50 == 0 or i == updates - 1:
            seconds = f"{time.monotonic() - begin:.0f} s"
            print(f"{n} evaluations, γ = {scale:g}, update {i + 1}/{updates}: {value:.4f}, {seconds}", flush=True)
    return table_of(free)


def as_table(rows: list[list[float]]) -> Table:
    """The table of these rows of the file: log-SNR of the evaluation, d, weights."""
    padded = jnp.asarray([[*row, *[0.0] * (2 + SLOPES - len(row))] for row in rows])
    angles = jnp.arctan(jnp.exp(-0.5 * padded[:, 0]))
    return Table(jnp.array([TOP, *angles[1:], 0.0]), angles, padded[:, 1], padded[:, 2:])


def as_rows(table: Table) -> list[list[float]]:
    """The rows of the file."""
    levels = -2.0 * np.log(np.tan(table.evaluations))
    rows = zip(levels, table.keep, table.weights, strict=True)
    return [[float(f"{x:.6g}") for x in (level, keep, *row[: k + 1])] for k, (level, keep, row) in enumerate(rows)]


def as_text(tables: Tables) -> str:
    """The file, with a line for each number of evaluations."""
    ordered = lambda group: dict(sorted(group.items(), key=lambda pair: float(pair[0])))
    line = lambda n, rows: f'"{n}": {json.dumps(rows, separators=(",", ":"))}'
    groups = [
        f'"{scale}": {{\n' + ",\n".join(line(*pair) for pair in ordered(group).items()) + "\n}"
        for scale, group in ordered(tables).items()
    ]
    return "{\n" + ",\n".join(groups) + "\n}\n"


def nearest(tables: Tables, n: int, scale: float) -> Table:
    """The table to begin with: of the largest guidance scale up to ``scale``, and there of the number nearest to n."""
    groups = [tables[name] for name in sorted(tables, key=float, reverse=True) if float(name) <= scale]
    group = next((group for group in groups if str(n) in group), groups[-1])
    return as_table(group[min(group, key=lambda count: (abs(int(count) - n), -int(count)))])


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("nfe", nargs="+", type=int, help="evaluations to tune for, at most 24")
    parser.add_argument("--guidance_scale", type=float, default=1.0, help="1 is without guidance")
    parser.add_argument("--updates", type=int, default=200, help="updates of Adam")
    parser.add_argument("--rate", type=float, default=0.2, help="learning rate times evaluations; it decays to 0")
    parser.add_argument("--out", type=Path, default=Path("few_steps.json"), help="file for all tables")
    given = parser.parse_args(args)
    tables: Tables = json.loads(resources.files("scorekit.samplers").joinpath("few_steps.json").read_text())
    name, scale = f"{given.guidance_scale:g}", 0.0 if given.guidance_scale == 1.0 else given.guidance_scale
    with jax.enable_x64(True):
        problems = make_problems(0, SIZES, scale)
    problems = jax.tree.map(lambda leaf: np.asarray(leaf, bool if leaf.dtype == bool else np.float32), problems)
    for n in given.nfe:
        start = free_of(nearest(tables, n, given.guidance_scale), n)
        tables.setdefault(name, {})[str(n)] = as_rows(tune(start, problems, scale, given.updates, given.rate))
        given.out.write_text(as_text(tables))


if __name__ == "__main__":
    main()

"""The bias, variance and cost of the objectives of score matching, for one score of noisy data of known density."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.measuring import rounds
from experiments.reporting.tables import Cell, Table
from scorekit import densities
from scorekit.denoisers import score_from_log_density
from scorekit.losses import score_matching as sm
from scorekit.typing import Array

Energy = Callable[[Array], Array]
WIDTH, BATCH = 128, 256


def denoising(key, score: Callable, log_density: Energy, x: Array, std) -> Array:
    """``|s(x + std eps) + eps / std|^2 / 2``; the log-density is not used."""
    eps = jax.random.normal(key, x.shape)
    return 0.5 * jnp.sum((score(x + std * eps) + eps / std) ** 2, axis=-1)


def _on_noisy(objective: Callable) -> Callable:
    def run(key, score, log_density, x, std):
        for_noise, for_probes = jax.random.split(key)
        return objective(for_probes, score, log_density, x + std * jax.random.normal(for_noise, x.shape))

    return run


OBJECTIVES: dict[str, Callable] = {
    "denoising": lambda k, s, f, x, std: denoising(k, s, f, x, std) - 0.5 * x.shape[-1] / std**2,
    "implicit, exact divergence": _on_noisy(lambda k, s, f, x: sm.implicit_loss(None, s, x)),
    "sliced, reduced variance": _on_noisy(lambda k, s, f, x: sm.implicit_loss(k, s, x, divergence="rademacher")),
    "sliced": _on_noisy(lambda k, s, f, x: sm.sliced_loss(k, s, x)),
    "FD-SSM": _on_noisy(lambda k, s, f, x: sm.finite_difference_loss(k, f, x)),
    "FD-DSM": lambda k, s, f, x, std: (
        sm.finite_difference_denoising_loss(k, f, x, std, step=0.1 * std) - 0.5 * x.shape[-1] / std**2
    ),
}
"""``(key, score, log_density, x, std) -> (B,)``, all with the mean ``F - E|grad log p_std|^2 / 2``."""


def data(dim: int) -> densities.Mixture:
    """Two Gaussians."""
    mean = np.full(dim, 1.0 / np.sqrt(dim))
    return densities.mixture(np.array([1, 2]), [densities.gaussian(jnp.asarray(m), std=0.5) for m in (-mean, mean)])


def moments(dim: int, stds: tuple[float, ...], num: int) -> dict[float, dict[str, tuple[float, float]]]:
    """By noise level and objective: the mean minus its truth in standard errors, and the deviation of the loss.

    The score is the one of the data with twice the variance of the noise, which is wrong but not far off.
    """
    density = data(dim)

    @jax.jit
    def run(key, std):
        for_x, for_noise, for_loss = jax.random.split(key, 3)
        exact, wrong = density.marginal(1.0, std), density.marginal(1.0, 2**0.5 * std)
        x = density.sample(for_x, (num,))
        noisy = x + std * jax.random.normal(for_noise, x.shape)
        score, best = score_from_log_density(wrong.log_density), score_from_log_density(exact.log_density)(noisy)
        truth = 0.5 * jnp.sum((score(noisy) - best) ** 2 - best**2, axis=-1)
        return truth, {name: each(for_loss, score, wrong.log_density, x, std) for name, each in OBJECTIVES.items()}

    def summary(std):
        truth, losses = jax.tree.map(lambda v: np.asarray(v, float), run(jax.random.key(dim), std))
        error = lambda loss: np.hypot(loss.std(), truth.std()) / num**0.5
        return {name: (float((x.mean() - truth.mean()) / error(x)), float(x.std())) for name, x in losses.items()}

    return {std: summary(std) for std in stds}


def energy(params: list[Array], x: Array) -> Array:
    """A network with two hidden layers and a quadratic part, ``(B, D) -> (B,)``."""
    h = x
    for weights in params[:-1]:
        h = jax.nn.silu(h @ weights)
    return h @ params[-1] - 0.5 * jnp.sum(x**2, axis=-1)


def costs(dims: list[int], std: float, turns: int) -> dict[int, dict[str, float]]:
    """CPU time of a gradient step of an energy network over the one of denoising, the median over rounds."""
    found, key, rng = {}, jax.random.key(0), np.random.default_rng(0)
    for dim in dims:
        sizes = [(dim, WIDTH), (WIDTH, WIDTH), (WIDTH,)]
        params = [jnp.asarray(rng.normal(size=s) / s[0] ** 0.5, jnp.float32) for s in sizes]
        x, calls = data(dim).sample(key, (BATCH,)), {}
        for name, each in OBJECTIVES.items():

            def loss(params, key, x, each=each):
                f = lambda x: energy(params, x)
                return each(key, score_from_log_density(f), f, x, std).mean()

            step = jax.jit(jax.grad(loss))
            calls[name] = lambda step=step, x=x, params=params: [step(params, key, x) for _ in range(5)]
        rounds(calls, 1)  # compiles
        seconds = {name: np.array(each) for name, each in rounds(calls, turns, time.process_time).items()}
        found[dim] = {name: float(np.median(each / seconds["denoising"])) for name, each in seconds.items()}
    return found


def tables(
    found: dict[int, dict[float, dict[str, tuple[float, float]]]], cost: dict[int, dict[str, float]]
) -> list[Table]:
    """Bias in standard errors and standard deviation, by noise level and dimension, and the cost of a step."""
    result = []
    for std in next(iter(found.values())):
        cell = lambda each: f"{each[1]:.3g} ({each[0]:+.1f})"
        rows: list[list[Cell]] = [[name, *(cell(found[d][std][name]) for d in found)] for name in OBJECTIVES]
        caption = (
            f"Standard deviation of the loss of an example at noise {std:g}; in brackets its mean minus the Fisher "
        )
        caption += "divergence without its constant, in standard errors."
        result.append(Table(["objective", *(f"D = {d}" for d in found)], rows, caption))
    rows = [[name, *(f"{cost[d][name]:.2f}" for d in cost)] for name in OBJECTIVES]
    caption = f"CPU time of a gradient step of an energy network, {BATCH} examples, over the one of denoising."
    return [*result, Table(["objective", *(f"D = {d}" for d in cost)], rows, caption)]

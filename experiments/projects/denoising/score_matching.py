"""Why denoising: bias and variance of the objectives of score matching.

    python -m experiments.projects.denoising.score_matching --out=docs/score_matching

The tables are of the loss of one score of noisy data by dimension, whose mean is known. ``--out`` is a folder for the
figure of the variance.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.reporting.curves import Panel, curves, lines
from experiments.reporting.tables import Cell, Table, tables_as_text
from scorekit import densities
from scorekit.denoisers import score_from_log_density
from scorekit.losses import score_matching as sm
from scorekit.typing import Array

_OUT = shared.out("folder for the figure", "docs/score_matching")
_NUM = shared.count("num", 8000, "Examples of each variance.", 100)
STDS, DIMS = (0.1, 1.0), (1, 2, 4, 16, 64)


def denoising(key, score: Callable, log_density: Callable, x: Array, std) -> Array:
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
    "implicit, exact divergence": _on_noisy(lambda k, s, f, x: sm.implicit_loss(s, x)),
    "sliced, reduced variance": _on_noisy(lambda k, s, f, x: sm.implicit_loss(s, x, divergence="rademacher", key=k)),
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


def moments(dim: int, num: int) -> dict[float, dict[str, tuple[float, float]]]:
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

    return {std: summary(std) for std in STDS}


def main(_) -> None:
    out = shared.results_folder(_OUT, names=("objectives.png",))
    results = {dim: moments(dim, _NUM.value) for dim in DIMS}
    tables = []
    for std in STDS:
        cell = lambda each: f"{each[1]:.3g} ({each[0]:+.1f})"
        rows: list[list[Cell]] = [[name, *(cell(results[dim][std][name]) for dim in DIMS)] for name in OBJECTIVES]
        caption = (
            f"Standard deviation of the loss of an example at noise {std:g}; in brackets its mean minus the Fisher "
            "divergence without its constant, in standard errors."
        )
        tables.append(Table(["objective", *(f"D = {dim}" for dim in DIMS)], rows, caption))
    print(tables_as_text(tables))
    deviations = lambda std: {name: [results[dim][std][name][1] for dim in DIMS] for name in OBJECTIVES}
    label, axes = "standard deviation of the loss", {"xscale": "log", "yscale": "log"}
    of_noise = lambda std: Panel(
        lines(DIMS, deviations(std)), "dimension", label, f"noise {std:g}, data of deviation 0.5", axes=axes
    )
    print(curves(out / "objectives.png", [of_noise(std) for std in STDS], share=True))


if __name__ == "__main__":
    command_line.run(main)

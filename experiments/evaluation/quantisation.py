"""A model of discrete latents draws code vectors, which are snapped to the nearest codes: how well that goes."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.models import model
from experiments.cli.config import Config
from experiments.data.dataset import Dataset, as_seen
from experiments.models.latents import Latents, margin
from experiments.reporting.report import Table
from scorekit import process
from scorekit.typing import PyTree

LEVELS = (-4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
"""Log-SNRs in nats."""


def snapping(
    config: Config, built: model.Model, dataset: Dataset, params: PyTree, generate
) -> tuple[dict[str, float], list[Table]]:
    """Numbers and tables for latents with codes, and nothing for any other data.

    Test latents are noised, denoised once and snapped: the share of vectors that come back to their own code. Samples
    are told by how near they end to the codes they are snapped to (:func:`experiments.models.latents.margin`).
    """
    if not isinstance(dataset, Latents) or dataset.codes is None:
        return {}, []
    few = {name: value[:256] for name, value in dataset.test.items() if name != "original"}

    @jax.jit
    def right(params, few, key, t):
        """The shares of vectors that are nearest to their own code: denoised, and scaled only."""
        seen = as_seen(dataset, few)
        x = seen["x"]
        x_t = process.perturb(x, jax.random.normal(key, x.shape, x.dtype), t, built.schedule)
        x0 = model.denoiser(built, params, model.conditions(built, seen))(x_t, t).x0
        own = dataset.index(x)
        return [jnp.mean(dataset.index(z) == own) for z in (x0, x_t / built.schedule.alpha(t))]

    rows = []
    for i, level in enumerate(LEVELS):
        denoised, noisy = right(params, few, jax.random.key(i), built.schedule.time_at(jnp.float32(level)))
        rows.append([level, float(denoised), float(noisy)])
    labels = np.resize(dataset.test["label"], 40)
    states, _ = generate(params, config.seed + 1, labels, config.sampling.guidance_scale, trajectory=True)
    found = margin(dataset, jnp.asarray(states[-1]))
    numbers = {f"snapping/{name}": value for name, value in found.items()}
    numbers.update({f"snapping/accuracy at log-SNR {level:g}": ours for level, ours, _ in rows})
    by_noise = Table(
        ["log-SNR", "denoised once", "as it is"],
        rows,
        f"Share of the code vectors of {len(few['x'])} test examples that are snapped to their own code, by noise "
        f"level (log-SNR in nats), given their conditions: denoised once, and without.",
    )
    ends = Table(
        list(found),
        [list(found.values())],
        f"{len(labels)} samples before they are snapped: their distance to the nearest code over that between codes, "
        "and the share of vectors within half the way to its nearest neighbour.",
    )
    return numbers, [by_noise, ends]

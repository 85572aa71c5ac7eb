"""Latents with codes: a model of code vectors draws continuous vectors, which are rounded to the nearest codes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config
from experiments.data.dataset import Dataset, preprocess
from experiments.models.conditioning import conditions
from experiments.tasks.diffusion.model import Model
from experiments.tasks.latents.latent_data import Latents, code_margin
from scorekit import process
from scorekit.typing import PyTree

LOG_SNRS = (-4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
"""Log-SNRs in nats."""


class Quantisation(NamedTuple):
    """How well rounding to codes works.

    Attributes:
      accuracy: rows ``(log-SNR, denoised, noisy)``: the share of code vectors of test examples that are quantised to
        their own code after noise of that level, denoised once and only rescaled.
      margin: see :func:`experiments.tasks.latents.latent_data.code_margin`, of samples.
      test_examples: number of test examples.
      samples: number of samples.
    """

    accuracy: list[tuple[float, float, float]]
    margin: dict[str, float]
    test_examples: int
    samples: int

    def values(self) -> dict[str, float]:
        """The metrics by name."""
        found = {f"quantisation/{name}": value for name, value in self.margin.items()}
        return found | {f"quantisation/accuracy at log-SNR {level:g}": ours for level, ours, _ in self.accuracy}


def quantisation(config: Config, model: Model, dataset: Dataset, params: PyTree, generate) -> Quantisation | None:
    """The metrics of latents with codes; None for any other data."""
    if not isinstance(dataset, Latents) or dataset.codes is None:
        return None
    few = {name: value[:256] for name, value in dataset.test.items() if name != "original"}

    @jax.jit
    def accuracy(params, few, key, t):
        batch = preprocess(dataset, few)
        x = batch["x"]
        x_t = process.perturb(x, jax.random.normal(key, x.shape, x.dtype), t, model.schedule)
        x0 = model.denoiser(params, conditions(model, batch))(x_t, t).x0
        own = dataset.index(x)
        return [jnp.mean(dataset.index(z) == own) for z in (x0, x_t / model.schedule.alpha(t))]

    rows = []
    for i, level in enumerate(LOG_SNRS):
        denoised, noisy = accuracy(params, few, jax.random.key(i), model.schedule.time_at(jnp.float32(level)))
        rows.append((level, float(denoised), float(noisy)))
    labels = np.resize(dataset.test["label"], 40)
    states, _ = generate(params, config.seed + 1, labels, config.sampling.guidance_scale, trajectory=True)
    return Quantisation(rows, code_margin(dataset, jnp.asarray(states[-1])), len(few["x"]), len(labels))

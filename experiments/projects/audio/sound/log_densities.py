"""Log-densities of sounds under a trained model, and the typicality test of batches of them."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import in_blocks
from experiments.tasks.diffusion.model import unconditional
from experiments.tasks.task import Run
from scorekit import likelihood, process, typicality
from scorekit.typing import Array, Key


class Result(NamedTuple):
    """The test of one batch; ``log_p`` is its mean log-density in nats."""

    log_p: float
    statistic: float
    p_value: float
    rejected: bool


def typicality_tests(
    key: Key, train: np.ndarray, calibration: np.ndarray, batches: Mapping[str, np.ndarray]
) -> dict[str, Result]:
    """Nalisnick's test of batches of log-densities, by name; ``calibration`` is of held-out examples, at least two.

    The smallest p-value is 1 / 10,001.
    """
    entropy = typicality.monte_carlo_entropy(jnp.asarray(train)).value
    found = {}
    for name, values in batches.items():
        test = typicality.typicality_test(key, entropy, calibration, values, resamples=10_000)
        found[name] = Result(float(np.mean(values)), float(test.statistic), float(test.p_value), bool(test.rejected))
    return found


def of_clips(log_density: Callable[[Key, Array], Array], key: Key, x: np.ndarray, size: int) -> np.ndarray:
    """Log-densities of clips in blocks of one compiled size, each with noise and probes of its own."""
    keys = (jax.random.fold_in(key, i) for i in itertools.count())
    return in_blocks(lambda block: log_density(next(keys), jnp.asarray(block)), x, size)


def noisy_log_density(run: Run, noise: float, steps: int) -> Callable[[Key, Array], Array]:
    """``(key, raw clips) -> log p`` in nats of the network's input for them with noise; jitted."""
    schedule, denoiser = run.model.schedule, unconditional(run.model, run.params)
    t_min = schedule.time_at(jnp.float32(-2.0 * math.log(noise)))
    ts = jnp.linspace(0.999, t_min, steps + 1)

    @jax.jit
    def log_density(key, raw):
        for_noise, for_probes = jax.random.split(key)
        x = run.dataset.to_model(raw)
        x_t = process.perturb(x, jax.random.normal(for_noise, x.shape), t_min, schedule)
        options = {"divergence": "rademacher", "probes": 1, "chunk": 1, "ts": ts}
        return likelihood.log_likelihood(for_probes, denoiser, schedule, x_t, **options).log_p

    return log_density

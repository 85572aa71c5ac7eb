"""The exact likelihood of test examples, with the kind of dequantisation without which it cannot be compared."""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.cli.progress import Progress
from experiments.data.dataset import Dataset, preprocess, rows_of
from experiments.models.conditioning import conditions
from experiments.models.devices import spread, spread_jit
from scorekit import likelihood
from scorekit.typing import PyTree, Schedule

FEW_VALUES = 16
"""Values of an example up to which the divergence is exact."""
BATCH = 64
"""Examples that are integrated together."""


class ExactBits(NamedTuple):
    """``-log2 p / D + offset`` of the probability-flow ODE, a mean over test examples given their conditions.

    Attributes:
      total: bits per dimension.
      error: standard error of the mean over examples.
      offset: the part that the scale of the data adds.
      dequantisation: "uniform" for discrete data, "none" for a density.
      examples: number of test examples.
      divergence: "exact", or the kind and number of probes.
      nfe: most evaluations of the network for a batch, from ``t_min`` to ``t_max``.
    """

    total: float
    error: float
    offset: float
    dequantisation: str
    examples: int
    divergence: str
    nfe: int
    t_min: float
    t_max: float


def likelihood_ends(schedule: Schedule, bins: int | None, deviations: float = 8.0) -> tuple[float, float]:
    """The first and the last time of a likelihood.

    Discrete data begin where a bin is so many standard deviations of the noise wide: with eight, t = 1e-5 for linear VP
    and 256 bins. Some schedules begin with more noise.
    """
    if bins is None:
        return 1e-3, 1.0 - 1e-3
    return max(0.0, float(schedule.time_at(2.0 * math.log(deviations / 2.0 * (bins - 1))))), 1.0 - 1e-3


def exact_bits(config: Config, model: Any, dataset: Dataset, params: PyTree) -> ExactBits:
    """Integrates the probability-flow ODE from test examples to noise.

    Discrete data are dequantised uniformly, within bins centred at the values of :func:`scorekit.data.to_unit`.
    """
    options, bins, dim, schedule = config.evaluation, dataset.bins, math.prod(model.shape), model.schedule
    t_min, t_max = likelihood_ends(schedule, bins)
    kind: Literal["exact", "rademacher"] = "exact" if dim <= FEW_VALUES else "rademacher"
    wider = 1.0 if bins is None else bins / (bins - 1)  # the network's scale: the outermost bins are at -1 and 1

    @spread_jit
    def run(params, key, batch):
        batch, solved = preprocess(dataset, spread(batch)), []

        def log_density(key, x):
            denoiser = model.denoiser(params, conditions(model, batch))
            solved.append(
                likelihood.log_likelihood(
                    denoiser,
                    schedule,
                    wider * x,
                    divergence=kind,
                    num_probes=options.exact_probes,
                    t_min=t_min,
                    t_max=t_max,
                    rtol=options.exact_tolerance,
                    atol=options.exact_tolerance,
                    key=None if kind == "exact" else key,
                )
            )
            return solved[0].log_p + dim * math.log(wider)

        if bins is None:
            bits = likelihood.bits_per_dim(log_density(key, batch["x"]), dim)
        else:
            bits = likelihood.dequantised_bits_per_dim(key, log_density, batch["raw"].astype(jnp.int32), bins)
        return bits.bits_per_dim, bits.offset, solved[0].nfe, solved[0].success

    examples = min(options.exact_examples, len(dataset.test["x"]))
    size = min(BATCH, examples)
    parts, offset, most = [], 0.0, 0
    with Progress(-(-examples // size), batch_size=size, label="exact likelihood", unit="examples") as bar:
        for i, start in enumerate(range(0, examples, size)):
            rows = np.minimum(np.arange(start, start + size), examples - 1)  # of one compiled size
            key = jax.random.fold_in(jax.random.key(config.seed), i)
            values, offset, nfe, success = map(np.asarray, run(params, key, rows_of(dataset.test, rows)))
            if not success or not np.all(np.isfinite(values)):
                raise ConfigError(
                    f"config.evaluation.exact_tolerance={options.exact_tolerance:g}: the probability-flow ODE was not "
                    f"solved after {nfe} evaluations; a larger tolerance needs fewer"
                )
            parts.append(values[: examples - start])
            most = max(most, int(nfe))
            bar.update(i + 1)
    bits = np.concatenate(parts)
    probes = "exact" if kind == "exact" else f"{options.exact_probes} {kind} probe{'s' * (options.exact_probes > 1)}"
    error, dequantisation = float(bits.std(ddof=1) / math.sqrt(examples)), "none" if bins is None else "uniform"
    return ExactBits(float(bits.mean()), error, float(offset), dequantisation, examples, probes, most, t_min, t_max)

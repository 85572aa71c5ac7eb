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
from experiments.tasks.diffusion.model import likelihood_ends
from scorekit import flow_maps, likelihood, process
from scorekit.typing import PyTree

FEW_VALUES = 16
"""Values of an example up to which the divergence is exact."""
BATCH = 64
"""Examples that are integrated together."""


JUMPS = (1, 2, 4)
"""Numbers of jumps of a flow map where the config has no numbers of steps."""


class ByMap(NamedTuple):
    """Bits per dimension by a flow map and its divergence head, compared with the ODE of the same model.

    Attributes:
      rows: metrics by the number of jumps.
      exact: bits per dimension of each example by the ODE, ``(N,)``.
      by_map: the same by each number of jumps, ``(N,)``.
      inversion: the root mean square, per value, of a jump to noise and back.
    """

    rows: dict[str, dict[str, float]]
    exact: np.ndarray
    by_map: list[np.ndarray]
    inversion: float


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
      by_map: the same by the jumps of a flow map with a divergence head.
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
    by_map: ByMap | None = None

    def values(self) -> dict[str, Any]:
        """Every metric by one name, as for JSON."""
        found = {name: value for name, value in self._asdict().items() if name != "by_map"}
        if self.by_map is None:
            return found
        jumps = {f"{row}/{name}": value for row, part in self.by_map.rows.items() for name, value in part.items()}
        return found | jumps | {"inversion error": self.by_map.inversion}


def exact_bits(config: Config, model: Any, dataset: Dataset, params: PyTree) -> ExactBits:
    """Integrates the probability-flow ODE from test examples to noise, and follows the jumps of a map with a divergence
    head, with the same dequantisation.

    Discrete data are dequantised uniformly, within bins centred at the values of :func:`scorekit.data.to_unit`.
    """
    options, bins, dim, schedule = config.evaluation, dataset.bins, math.prod(model.shape), model.schedule
    t_min, t_max = map(float, likelihood_ends(model))
    kind: Literal["exact", "rademacher"] = "exact" if dim <= FEW_VALUES else "rademacher"
    counts = (options.step_counts or JUMPS) if model.divergence else ()

    wider = 1.0 if bins is None else bins / (bins - 1)  # the network's scale: the outermost bins are at -1 and 1

    def log_likelihood(jumps, params, given, key, x):
        if jumps:
            return model.map_likelihood(params, given, x, jumps, (t_min, t_max))
        return likelihood.log_likelihood(
            None if kind == "exact" else key,
            model.denoiser(params, given),
            schedule,
            x,
            divergence=kind,
            probes=options.exact_probes,
            t_min=t_min,
            t_max=t_max,
            rtol=options.exact_tolerance,
            atol=options.exact_tolerance,
        )

    def code(jumps, params, key, batch):
        found = []

        def log_density(key, x):
            found.append(log_likelihood(jumps, params, conditions(model, batch), key, wider * x))
            return found[0].log_p + dim * math.log(wider)

        if bins is None:
            bits = likelihood.bits_per_dim(log_density(key, batch["x"]), dim)
        else:
            bits = likelihood.dequantised_bits_per_dim(key, log_density, batch["raw"].astype(jnp.int32), bins)
        return bits.bits_per_dim, bits.offset, found[0].nfe, found[0].success

    @spread_jit
    def run(params, key, batch):
        batch, error = preprocess(dataset, spread(batch)), jnp.zeros(1)
        found = [code(jumps, params, key, batch) for jumps in (0, *counts)]
        if counts:
            x_t = process.perturb(batch["x"], jax.random.normal(key, batch["x"].shape), t_min, schedule)
            rule = model.denoiser(params, conditions(model, batch))
            error = flow_maps.semigroup_error(rule, schedule, x_t, t_min, t_max, t_min)
        return found, error

    examples = min(options.exact_examples, len(dataset.test["x"]))
    size = min(BATCH, examples)
    parts, errors, offset, most = [], [], 0.0, 0
    with Progress(-(-examples // size), batch_size=size, label="exact likelihood", unit="examples") as bar:
        for i, start in enumerate(range(0, examples, size)):
            rows = np.minimum(np.arange(start, start + size), examples - 1)  # of one compiled size
            key = jax.random.fold_in(jax.random.key(config.seed), i)
            found, error = jax.tree.map(np.asarray, run(params, key, rows_of(dataset.test, rows)))
            values, (_, offset, nfe, success) = np.stack([one[0] for one in found]), found[0]
            if not success or not np.all(np.isfinite(values)):
                raise ConfigError(
                    f"config.evaluation.exact_tolerance={options.exact_tolerance:g}: the probability-flow ODE was not "
                    f"solved after {nfe} evaluations; a larger tolerance needs fewer"
                )
            parts.append(values[:, : examples - start])
            errors.append(error[: examples - start])
            most = max(most, int(nfe))
            bar.update(i + 1)
    bits, *by_map = np.concatenate(parts, axis=1)
    probes = "exact" if kind == "exact" else f"{options.exact_probes} {kind} probe{'s' * (options.exact_probes > 1)}"
    error = lambda values: float(values.std(ddof=1) / math.sqrt(examples))
    dequantisation = "none" if bins is None else "uniform"
    jumps = {}
    for count, values in zip(counts, by_map, strict=True):
        jumps[f"{count} jump{'s' * (count > 1)}"] = {
            "bits/dim": float(values.mean()),
            "standard error": error(values),
            "mean |difference|": float(np.abs(values - bits).mean()),
            "rank correlation": float(np.corrcoef(*(each.argsort().argsort() for each in (values, bits)))[0, 1]),
            "evaluations": count,
        }
    found = ByMap(jumps, bits, by_map, math.sqrt(np.concatenate(errors).mean())) if by_map else None
    return ExactBits(
        float(bits.mean()), error(bits), float(offset), dequantisation, examples, probes, most, t_min, t_max, found
    )

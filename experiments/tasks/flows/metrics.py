"""Metrics of a trained flow: exact bits per dimension of held-out data, and samples by temperature."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.cli.config import Config
from experiments.cli.fields import POSITIVE, Field, Section
from experiments.data.dataset import Dataset, in_blocks, rows_of
from experiments.models.devices import everywhere, spread, spread_jit
from experiments.models.samples import Generate, PartialSamples, check_samples
from experiments.tasks.flows.model import Flows, bits_per_dim
from experiments.tasks.task import AT_END, SAMPLES
from scorekit.arguments import Each
from scorekit.typing import PyTree

FIELDS = Section(
    at_end=AT_END,
    num_samples=SAMPLES,
    temperatures=Field((1.0, 0.7), Each(POSITIVE, least=1), "Temperatures of samples to compare."),
)
"""The section ``evaluation`` of a flow's config."""


class FlowEvaluation(NamedTuple):
    """All metrics of a run.

    Attributes:
      bits: bits per dimension of each test example given its conditions.
      discrete: whether the data are discrete and dequantised.
      rows: metrics by name, of real test data and of samples at each temperature; empty where nothing measures them.
      caption: explanation of the metrics of ``rows``.
    """

    bits: np.ndarray
    discrete: bool
    rows: dict[str, dict[str, float]]
    caption: str

    def values(self) -> dict[str, Any]:
        """Every metric by one name, as for JSON."""
        found: dict[str, Any] = {f"{row}/{name}": v for row, part in self.rows.items() for name, v in part.items()}
        return {**found, "exact/bits per dim": float(self.bits.mean()), "exact/standard error": self.error}

    @property
    def error(self) -> float:
        """Standard error of the mean bits over examples."""
        return float(self.bits.std(ddof=1) / math.sqrt(len(self.bits))) if len(self.bits) > 1 else math.nan


def evaluate(
    config: Config,
    model: Flows,
    dataset: Dataset,
    params: PyTree,
    generate: Generate,
    partial: PartialSamples | None = None,
) -> FlowEvaluation:
    """Evaluates bits per dimension, and samples at every temperature."""
    few, key = rows_of(dataset.test, slice(dataset.max_evaluated)), jax.random.key(config.seed)
    run = spread_jit(lambda params, key, batch: bits_per_dim(model, dataset, params, key, spread(batch)))
    placed, examples = everywhere(params), len(few["x"])
    block = lambda at: run(placed, jax.random.fold_in(key, int(at[0])), rows_of(few, at))
    bits = in_blocks(block, np.arange(examples), min(dataset.evaluation_batch, examples))
    check_samples(bits, config.network.name, "bits per dimension of test examples")
    scorer, rows = dataset.scorer(), {}
    if scorer is not None:
        rows["real test data"] = scorer.real
        labels = np.arange(dataset.num_samples(config.evaluation.num_samples), dtype=np.int32) % dataset.num_classes
        temperatures = config.evaluation.temperatures
        for temperature in temperatures:
            options = {"partial": partial, "temperature": temperature}
            samples = generate(params, config.seed + 1, labels, config.sampling.guidance_scale, **options)
            rows[f"T = {temperature:g}"] = scorer.samples(samples, labels)
    return FlowEvaluation(bits, model.bins is not None, rows, "" if scorer is None else scorer.caption)

"""Metrics of a trained flow: exact bits per dimension of held-out data, and samples by temperature."""

import math
from typing import Any

import jax
import numpy as np

from experiments.cli.config import Config
from experiments.cli.fields import POSITIVE, Field, Section
from experiments.data.dataset import Dataset, in_blocks, rows_of
from experiments.models.devices import everywhere, spread, spread_jit
from experiments.models.samples import Generate, PartialSamples, check_samples
from experiments.reporting.tables import Table, metrics_table
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


def evaluate(
    config: Config,
    model: Flows,
    dataset: Dataset,
    params: PyTree,
    generate: Generate,
    partial: PartialSamples | None = None,
) -> tuple[dict[str, Any], list[Table]]:
    """Bits per dimension of test examples given their conditions, and metrics of samples at every temperature: every
    metric by one name, as for JSON, and tables."""
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
    mean = float(bits.mean())
    error = float(bits.std(ddof=1) / math.sqrt(examples)) if examples > 1 else math.nan
    kind = "a density, no dequantisation" if model.bins is None else "with uniform dequantisation"
    about = f"Exact, of {examples} test examples given their conditions; {kind}."
    tables = [Table(["bits/dim", "standard error"], [[mean, error]], about)]
    tables += [] if scorer is None else [metrics_table(rows, scorer.caption)]
    values = {f"{row}/{name}": value for row, part in rows.items() for name, value in part.items()}
    return {**values, "exact/bits per dim": mean, "exact/standard error": error}, tables

"""Metrics of a trained model of sequences: bits per symbol of held-out data, samples, and what they cost."""

import math
import time
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from experiments.cli.config import Config, require
from experiments.cli.fields import NON_NEGATIVE, Field, Section
from experiments.data.dataset import in_blocks, rows_of
from experiments.data.symbols import Symbols
from experiments.models.devices import spread, spread_jit
from experiments.models.samples import PartialSamples, check_samples
from experiments.reporting.tables import Table, metrics_table, row_table
from experiments.tasks.sequences.model import Sequences, conditionals, map_of, token_denoiser
from experiments.tasks.task import AT_END, SAMPLES, Run
from scorekit import autoregressive as ar
from scorekit import discrete
from scorekit.arguments import Count, Each
from scorekit.typing import PyTree

FIELDS = Section(
    at_end=AT_END,
    num_samples=SAMPLES,
    guidance_scales=Field((1.0, 2.0), Each(NON_NEGATIVE), "Guidance scales to compare."),
    bound_times=Field(32, Count(1, 10**6), "Diffusion: noise levels per test example in the variational bound."),
)
"""The section ``evaluation`` of a config of sequences."""


_OF_BITS = 1
FITTED = "classification accuracy score"
"""The score of a classifier fitted to the samples: not for decoded test data, which it would be tested on."""


class Bits(NamedTuple):
    """Bits per symbol of held-out sequences given their classes.

    Attributes:
      total: mean over examples.
      error: standard error of the mean; the error of a bound includes its random noise levels.
      kind: "exact", or "bound" of a diffusion.
      examples: number of test examples.
      symbols: number of symbols of a sequence.
      codes: size of the vocabulary.
    """

    total: float
    error: float
    kind: str
    examples: int
    symbols: int
    codes: int


def evaluate(config: Config, run: Run, partial: PartialSamples | None = None) -> tuple[dict[str, Any], list[Table]]:
    """Bits per symbol of held-out data, metrics of samples at every guidance scale, and seconds of sampling: every
    metric by one name, as for JSON, and tables."""
    given, dataset = config.sampling.given, cast(Symbols, run.dataset)
    allowed = "None in an evaluation: given notes are of the test data that samples are compared with"
    require(given is None, "sampling.given", given, allowed)
    bits, scorer = bits_per_symbol(config, run.model, dataset, run.params), dataset.scorer()
    scales, num = config.evaluation.guidance_scales, dataset.num_samples(config.evaluation.num_samples)
    size, rows, labels = config.sampling.batch_size, {}, np.arange(num, dtype=np.int32) % dataset.num_classes
    if scorer is not None:
        rows["real test data"] = scorer.real
        if not dataset.coding.exact:
            measured = scorer.samples(dataset.decoded(dataset.test), dataset.test["label"])
            rows["codes of test data, decoded"] = {k: v for k, v in measured.items() if k != FITTED}
        for scale in scales:
            samples = run.generate(run.params, config.seed + 1, labels, scale, partial=partial)
            rows[f"γ = {scale:g}"] = scorer.samples(samples, labels)
    few = np.resize(labels, min(size, num))
    for seed in (0, 1):  # the first one compiles
        start = time.perf_counter()
        run.generate(run.params, seed, few, config.sampling.guidance_scale)
        seconds = (time.perf_counter() - start) / len(few)
    values: dict[str, Any] = {f"{row}/{name}": v for row, part in rows.items() for name, v in part.items()}
    values |= {"bits per symbol": bits.total, "bits per symbol/standard error": bits.error}
    values |= {"bits per symbol/kind": bits.kind, "seconds per sample": seconds}
    about = (
        f"Of {bits.examples} test examples given their classes, each of {bits.symbols} symbols of {bits.codes} codes: "
        f"{'exact' if bits.kind == 'exact' else 'an upper bound (variational)'}. Seconds: of a batch of {len(few)}, "
        "compiled before."
    )
    of_bits = {"bits per symbol": bits.total, "standard error": bits.error}
    of_bits |= {"bits per sequence": bits.total * bits.symbols, "seconds per sample": seconds}
    of_samples = [] if scorer is None else [metrics_table(rows, scorer.caption)]
    return values, [row_table(of_bits, about), *of_samples]


def bits_per_symbol(config: Config, model: Sequences, dataset: Symbols, params: PyTree) -> Bits:
    """The exact code length of an autoregressive model, or the variational bound of a diffusion."""

    def values(params, key, part):
        part = spread(part)
        x, labels, dense_map = part["x"], part["label"], map_of(model, part)
        if model.process is None:
            return ar.bits_per_sample(conditionals(model, params, labels, dense_map=dense_map), x).bits_per_dim
        denoiser, num_times = token_denoiser(model, params, labels, dense_map), config.evaluation.bound_times
        bound = discrete.variational_bound(key, denoiser, model.process, x, num_times=num_times)
        return bound.total / (model.length * math.log(2))

    run = spread_jit(values)
    few = rows_of(dataset.test, slice(dataset.max_evaluated))
    examples, key = len(few["x"]), jax.random.fold_in(jax.random.key(config.seed), _OF_BITS)
    block = lambda at: run(params, jax.random.fold_in(key, int(at[0])), rows_of(few, at))
    bits = in_blocks(block, np.arange(examples), min(dataset.evaluation_batch, examples))
    check_samples(bits, config.model, "bits per symbol of test examples")
    error = float(bits.std(ddof=1) / math.sqrt(examples)) if examples > 1 else math.nan
    kind = "exact" if model.process is None else "bound"
    return Bits(float(bits.mean()), error, kind, examples, model.length, model.num_codes)

"""FID and the other metrics of Inception features, of samples of a run at each guidance scale."""

import math
from typing import NamedTuple

import jax
import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Dataset
from experiments.models.samples import Generate, PartialSamples
from experiments.tasks.diffusion.metrics import compared
from experiments.tasks.diffusion.metrics.inception import (
    BLOCK,
    LOGITS,
    POOL,
    SPATIAL,
    Extractor,
    Reference,
    read_reference,
    reference_of,
    to_bytes,
)
from scorekit import metrics
from scorekit.typing import PyTree

KEPT = 10_000
"""Most reference images whose features are kept, for KID, precision and recall: as many as in ADM's files."""
SUBSET = 1000
"""Examples in a subset of the KID, at most."""


class InceptionMetrics(NamedTuple):
    """Metrics by name for each guidance scale, and what decides them."""

    rows: dict[str, dict[str, float]]
    caption: str
    provenance: dict[str, str | int]

    def values(self) -> dict[str, float | str | int]:
        """Every metric by one name, and its provenance."""
        rows = {f"{row}/{name}": value for row, parts in self.rows.items() for name, value in parts.items()}
        return {f"Inception/{name}": value for name, value in (rows | self.provenance).items()}


def prepare(config: Config, dataset: Dataset) -> tuple[Extractor, Reference]:
    """Reads the weights of the network and the reference."""
    options = config.evaluation.fid
    given = f"config.evaluation.fid.weights={options.weights}"
    extract = Extractor(options.weights, options.resize, given)
    if options.reference is not None:
        given = f"config.evaluation.fid.reference={options.reference}"
        return extract, read_reference(options.reference, extract, given)
    if dataset.streaming:
        file = "a file of experiments.projects.published.reference_statistics, where the data are not in memory"
        raise ConfigError(f"config.evaluation.fid.reference=None: must be {file}")
    x = dataset.train["original" if "original" in dataset.train else "x"]
    print(f"reference: features of {len(x):,} training images", flush=True)
    part = lambda start: jax.tree.map(lambda leaf: leaf[start : start + 16 * BLOCK], dataset.train)
    batches = (to_bytes(dataset.real(part(start))) for start in range(0, len(x), 16 * BLOCK))
    about = f"training images of {dataset.name}, {len(x):,} images"
    return extract, reference_of(extract, batches, KEPT, about)


def inception_metrics(
    config: Config,
    dataset: Dataset,
    params: PyTree,
    generate: Generate,
    prepared: tuple[Extractor, Reference],
    partial: PartialSamples | None = None,
) -> InceptionMetrics:
    """Draws ``repeats`` sets of samples of every row of :func:`compared`; of each batch only the features are kept."""
    options, (extract, reference) = config.evaluation.fid, prepared
    labels = np.arange(options.num_samples, dtype=np.int32) % dataset.num_classes
    rows = {}
    for name, (scale, steps) in compared(config).items():
        sets = []
        for repeat in range(options.repeats):
            seed = (config.seed + 1 + repeat) % 2**32
            features = generate(params, seed, labels, scale, partial=partial, measure=extract, steps=steps)
            sets.append(_of_set(features, extract, reference))
            score = f"FID {sets[-1]['FID']:.4f} ({extract.convention})"
            print(f"{name}, set {repeat + 1} of {options.repeats}: {score}", flush=True)
        rows[name] = _over_repeats(sets)
    provenance = {"samples": options.num_samples, "repeats": options.repeats, "resize": extract.convention}
    provenance |= {"weights": extract.checksum, "reference": reference.about}
    return InceptionMetrics(rows, _caption(options, reference), provenance)


def _of_set(features: np.ndarray, extract: Extractor, reference: Reference) -> dict[str, float]:
    pool = extract.columns(features, POOL)
    values = {"FID": metrics.fid(extract.statistics(features, POOL), reference.pool)}
    if reference.spatial is not None:
        values["sFID"] = metrics.fid(extract.statistics(features, SPATIAL), reference.spatial)
    shuffled = np.random.RandomState(2020).permutation(len(features))  # labels repeat in their order
    values["Inception score"] = metrics.inception_score(extract.columns(features, LOGITS)[shuffled]).mean
    if reference.features is not None and len(reference.features) > 3:
        size = min(SUBSET, len(pool), len(reference.features))
        values["KID"] = metrics.kid(reference.features, pool, subset_size=size).mean
        near = jax.jit(metrics.precision_recall)(reference.features, pool)
        values |= {"precision": float(near.precision), "recall": float(near.recall)}
    return values


def _over_repeats(sets: list[dict[str, float]]) -> dict[str, float]:
    """Means; of the FID its standard error too, and the smallest value."""
    means = {name: float(np.mean([part[name] for part in sets])) for name in sets[0]}
    fids = [part["FID"] for part in sets]
    if len(fids) == 1:
        return means
    error = float(np.std(fids, ddof=1) / math.sqrt(len(fids)))
    return {"FID": means.pop("FID"), "standard error": error, f"minimum of {len(fids)}": min(fids), **means}


def _caption(options: Config, reference: Reference) -> str:
    text = "Of Inception features of samples as 8-bit images."
    if options.repeats > 1:
        text += f" Means over {options.repeats} sets of samples; EDM reports the minimum of three."
    if reference.features is not None:
        real = len(reference.features)
        size = min(SUBSET, options.num_samples, real)
        text += f" KID: 100 subsets of {size:,}; precision and recall: k = 3; with {real:,} real images."
    return text

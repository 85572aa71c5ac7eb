"""FID and the other metrics of features of a network, of samples of a run at each guidance scale."""

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
    """Metrics by name for each guidance scale, how they were found, and the network of the features."""

    rows: dict[str, dict[str, float]]
    caption: str
    provenance: dict[str, str | int]
    network: str

    def values(self) -> dict[str, float | str | int]:
        """Every metric by one name, and its provenance."""
        found = {f"{row}/{name}": value for row, parts in self.rows.items() for name, value in parts.items()}
        return {f"{self.network}/{name}": value for name, value in (found | self.provenance).items()}


class Prepared(NamedTuple):
    """The network and the reference."""

    extract: Extractor
    reference: Reference


def prepare(config: Config, dataset: Dataset) -> Prepared | None:
    """Reads the weights and the reference; None where the config has no weights."""
    options = config.evaluation.fid
    if options.weights is None:
        return None
    given = f"config.evaluation.fid.weights={options.weights}"
    extract = Extractor(options.network, options.weights, options.resize, given)
    if options.reference is not None:
        given = f"config.evaluation.fid.reference={options.reference}"
        return Prepared(extract, read_reference(options.reference, extract, given))
    if dataset.streaming:
        file = "a file of experiments.projects.published.reference_statistics, where the data are not in memory"
        raise ConfigError(f"config.evaluation.fid.reference=None: must be {file}")
    x = dataset.train["original" if "original" in dataset.train else "x"]
    print(f"reference: features of {len(x):,} training images", flush=True)
    part = lambda start: jax.tree.map(lambda leaf: leaf[start : start + 16 * BLOCK], dataset.train)
    batches = (to_bytes(dataset.real(part(start))) for start in range(0, len(x), 16 * BLOCK))
    about = f"training images of {dataset.name}, {len(x):,} images"
    return Prepared(extract, reference_of(extract, batches, KEPT, about))


def inception_metrics(
    config: Config,
    dataset: Dataset,
    params: PyTree,
    generate: Generate,
    prepared: Prepared,
    partial: PartialSamples | None = None,
) -> InceptionMetrics:
    """Draws ``repeats`` sets of samples of every row of :func:`compared`; of each batch only the features are kept."""
    options, (extract, reference) = config.evaluation.fid, prepared
    labels = np.arange(options.num_samples, dtype=np.int32) % dataset.num_classes
    rows, distance = {}, extract.network.distance
    for name, (scale, steps) in compared(config).items():
        found = []
        for repeat in range(options.repeats):
            seed = (config.seed + 1 + repeat) % 2**32
            features = generate(params, seed, labels, scale, partial=partial, measure=extract, steps=steps)
            found.append(_of_set(features, extract, reference))
            score = f"{distance} {found[-1][distance]:.4f} ({extract.convention})"
            print(f"{name}, set {repeat + 1} of {options.repeats}: {score}", flush=True)
        rows[name] = _over_repeats(found, distance)
    provenance = {"samples": options.num_samples, "repeats": options.repeats, "resize": extract.convention}
    provenance |= {"weights": extract.checksum, "reference": reference.about}
    return InceptionMetrics(rows, _caption(options, extract, reference), provenance, extract.network.name)


def _of_set(features: np.ndarray, extract: Extractor, reference: Reference) -> dict[str, float]:
    network = extract.network
    pool = extract.columns(features, network.pool)
    found = {network.distance: metrics.fid(extract.statistics(features, network.pool), reference.pool)}
    if network.spatial and reference.spatial is not None:
        found["sFID"] = metrics.fid(extract.statistics(features, network.spatial), reference.spatial)
    if network.logits:
        shuffled = np.random.RandomState(2020).permutation(len(features))  # labels repeat in their order
        logits = extract.columns(features, network.logits)[shuffled]
        found["Inception score"] = metrics.inception_score(logits).mean
    if reference.features is not None and len(reference.features) > 3:
        size = min(SUBSET, len(pool), len(reference.features))
        found[network.kernel] = metrics.kid(reference.features, pool, subset_size=size).mean
        near = jax.jit(metrics.precision_recall)(reference.features, pool)
        found |= {"precision": float(near.precision), "recall": float(near.recall)}
    return found


def _over_repeats(found: list[dict[str, float]], distance: str) -> dict[str, float]:
    """Means; of the Fréchet distance its standard error too, and the smallest value."""
    means = {name: float(np.mean([part[name] for part in found])) for name in found[0]}
    fids = [part[distance] for part in found]
    if len(fids) == 1:
        return means
    error = float(np.std(fids, ddof=1) / math.sqrt(len(fids)))
    return {distance: means.pop(distance), "standard error": error, f"minimum of {len(fids)}": min(fids), **means}


def _caption(options: Config, extract: Extractor, reference: Reference) -> str:
    text = f"Of {extract.network.name} features of samples as 8-bit images."
    if options.repeats > 1:
        text += f" Means over {options.repeats} sets of samples; EDM reports the minimum of three."
    if reference.features is not None:
        real = len(reference.features)
        size, kernel = min(SUBSET, options.num_samples, real), extract.network.kernel
        text += f" {kernel[0].upper() + kernel[1:]}: 100 subsets of {size:,}"
        text += f"; precision and recall: k = 3; with {real:,} real images."
    return text

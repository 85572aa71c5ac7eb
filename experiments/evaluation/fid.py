"""FID and the other metrics of Inception features, of samples of a run at each guidance scale."""

import math
from typing import NamedTuple

import jax
import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Dataset
from experiments.evaluation.inception import (
    BLOCK,
    Extractor,
    Reference,
    columns,
    read_reference,
    reference_of,
    statistics,
    to_bytes,
)
from experiments.models.partial import PartialSamples
from experiments.models.sampling import Generate
from scorekit import metrics
from scorekit.typing import PyTree

KEPT = 10_000
"""Most reference images whose features are kept, for KID, precision and recall: as many as in ADM's files."""
SUBSET = 1000
"""Examples in a subset of the KID, at most."""


class InceptionMetrics(NamedTuple):
    """Metrics by name for each guidance scale, how they were found, and the same for JSON."""

    rows: dict[str, dict[str, float]]
    caption: str
    provenance: dict[str, str | int]

    def values(self) -> dict[str, float | str | int]:
        """Every metric by one name, and its provenance."""
        found = {f"Inception/{row}/{name}": value for row, parts in self.rows.items() for name, value in parts.items()}
        return found | {f"Inception/{name}": value for name, value in self.provenance.items()}


class Prepared(NamedTuple):
    """The network and the reference."""

    extract: Extractor
    reference: Reference


def prepare(config: Config, dataset: Dataset) -> Prepared | None:
    """Reads the weights and the reference; None where the config has no weights.

    Raises:
      ConfigError: if a file is not what it must be, or there is no reference.
    """
    options = config.evaluation.fid
    if options.weights is None:
        return None
    extract = Extractor(options.weights, options.resize, f"config.evaluation.fid.weights={options.weights}")
    if options.reference is not None:
        given = f"config.evaluation.fid.reference={options.reference}"
        return Prepared(extract, read_reference(options.reference, extract, given))
    if dataset.streaming:
        raise ConfigError(
            "config.evaluation.fid.reference=None: must be a file of experiments.analysis.reference_statistics, where "
            "the data are not in memory"
        )
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
    """Draws ``repeats`` sets of samples at every guidance scale; of each batch only the features are kept.

    Args:
      config: the full config.
      dataset: the data of the run.
      params: the parameters to sample with.
      generate: from :func:`experiments.models.sampling.make_sampler`.
      prepared: from :func:`prepare`.
      partial: where features are kept until the caller has written the evaluation.
    """
    options, (extract, reference) = config.evaluation.fid, prepared
    labels = np.arange(options.num_samples, dtype=np.int32) % dataset.num_classes
    rows = {}
    for scale in config.evaluation.guidance_scales:
        found = []
        for repeat in range(options.repeats):
            seed = (config.seed + 1 + repeat) % 2**32
            features = generate(params, seed, labels, scale, partial=partial, measure=extract)
            found.append(_of_set(features, reference))
            score = found[-1]["FID"]
            print(
                f"γ = {scale:g}, set {repeat + 1} of {options.repeats}: FID {score:.4f} ({extract.convention})",
                flush=True,
            )
        rows[f"γ = {scale:g}"] = _over_repeats(found)
    provenance = {
        "samples": options.num_samples,
        "repeats": options.repeats,
        "resize": extract.convention,
        "weights": extract.checksum,
        "reference": reference.about,
    }
    return InceptionMetrics(rows, _caption(options, reference), provenance)


def _of_set(features: np.ndarray, reference: Reference) -> dict[str, float]:
    pool = columns(features, "2048")
    found = {"FID": metrics.fid(statistics(features, "2048"), reference.pool)}
    if reference.spatial is not None:
        found["sFID"] = metrics.fid(statistics(features, "spatial"), reference.spatial)
    shuffled = np.random.RandomState(2020).permutation(len(features))  # labels repeat in their order
    found["Inception score"] = metrics.inception_score(columns(features, "logits_unbiased")[shuffled]).mean
    if reference.features is not None and len(reference.features) > 3:
        size = min(SUBSET, len(pool), len(reference.features))
        found["KID"] = metrics.kid(reference.features, pool, subset_size=size).mean
        near = jax.jit(metrics.precision_recall)(reference.features, pool)
        found |= {"precision": float(near.precision), "recall": float(near.recall)}
    return found


def _over_repeats(found: list[dict[str, float]]) -> dict[str, float]:
    """Means; of the FID its standard error too, and the smallest value."""
    means = {name: float(np.mean([part[name] for part in found])) for name in found[0]}
    fids = [part["FID"] for part in found]
    if len(fids) == 1:
        return means
    error = float(np.std(fids, ddof=1) / math.sqrt(len(fids)))
    return {"FID": means.pop("FID"), "standard error": error, f"minimum of {len(fids)}": min(fids), **means}


def _caption(options: Config, reference: Reference) -> str:
    text = "Of samples as 8-bit images."
    if options.repeats > 1:
        text += f" Means over {options.repeats} sets of samples; EDM reports the minimum of three."
    if reference.features is not None:
        real = len(reference.features)
        size = min(SUBSET, options.num_samples, real)
        text += f" KID: 100 subsets of {size:,}; precision and recall: k = 3; with {real:,} real images."
    return text

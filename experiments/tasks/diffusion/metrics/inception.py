"""Inception features of images, on all devices, and references to compare them with."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError
from experiments.data.dataset import in_blocks
from experiments.models.devices import everywhere, spread, spread_jit
from scorekit import metrics
from scorekit.io import as_path, in_bucket, read_arrays, write_atomic
from scorekit.io.formats import inception
from scorekit.metrics import Convention, FeatureStatistics
from scorekit.typing import ArrayLike

POOL, SPATIAL, LOGITS = "2048", "spatial", "logits_unbiased"
"""Outputs of the network: of the FID, KID, precision and recall; of the sFID; of the Inception score."""
SIZES = {POOL: 2048, SPATIAL: 2023, LOGITS: 1008}
"""Their sizes, in the order of the columns of features."""
BLOCK = 64
"""Images that go through the network at once."""
ROWS = 4096
"""Features that are added to the statistics at once."""


class Extractor:
    """``extract(samples) -> features`` as float32 ``(N, D)``, the outputs of :data:`SIZES` one after another.

    Args:
      path: file of the weights.
      convention: way to resize, see :func:`scorekit.metrics.resize`.
      given: flag or field that names the path, for errors.
    """

    def __init__(self, path: str, convention: Convention, given: str):
        try:
            module, params, self.checksum = inception.load(path)
        except ValueError as error:
            raise ConfigError(f"{given}: {error}") from error
        self.convention: Convention = convention
        self.identity = f"Inception features {self.checksum} {convention}"
        self._params = everywhere(params)

        @spread_jit
        def run(params, images):
            outputs: Any = module.apply({"params": params}, metrics.inception_input(spread(images), convention))
            return jnp.concatenate([outputs[name] for name in SIZES], axis=1)

        self._run = run

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Features of samples ``(N, H, W, C)`` in [-1, 1], rounded to 8 bits as when they are saved."""
        return self.of_bytes(to_bytes(samples))

    def of_bytes(self, images: np.ndarray) -> np.ndarray:
        """Features of images ``(N, H, W, C)`` as uint8."""
        return in_blocks(lambda block: self._run(self._params, block), images, BLOCK)

    def columns(self, features: np.ndarray, name: str) -> np.ndarray:
        """One output of the network out of its features."""
        ends = np.cumsum(list(SIZES.values()))
        return np.split(features, ends[:-1], axis=1)[list(SIZES).index(name)]

    def statistics(self, features: np.ndarray, name: str) -> FeatureStatistics:
        """The statistics of one output."""
        return metrics.merge_statistics(map(metrics.feature_statistics, _parts(self.columns(features, name))))


def to_bytes(samples: ArrayLike) -> np.ndarray:
    """Floats in [-1, 1] as uint8, rounded to the nearest.

    >>> to_bytes(np.array([-1.0, 0.001, 1.0]))
    array([  0, 128, 255], dtype=uint8)
    """
    return np.clip(np.rint((np.asarray(samples) + 1.0) * 127.5), 0, 255).astype(np.uint8)


class Reference(NamedTuple):
    """Real images, by their features.

    Attributes:
      pool: the statistics of the output :data:`POOL`.
      spatial: the statistics of :data:`SPATIAL`, None if unknown.
      features: :data:`POOL` of some of the images ``(N, D)``, None if unknown.
      about: its source, in words.
    """

    pool: FeatureStatistics
    spatial: FeatureStatistics | None
    features: np.ndarray | None
    about: str


def reference_of(extract: Extractor, batches: Iterable[np.ndarray], keep: int, about: str) -> Reference:
    """The reference of batches of uint8 images, with the features of the first ``keep`` of them."""
    merged: dict[str, list[FeatureStatistics]] = {POOL: [], SPATIAL: []}
    kept, have = [], 0
    for features in _joined(map(extract.of_bytes, batches)):
        for name, before in merged.items():
            merged[name] = [metrics.merge_statistics([*before, extract.statistics(features, name)])]
        kept.append(np.array(extract.columns(features, POOL)[: max(keep - have, 0)]))
        have += len(kept[-1])
    return Reference(merged[POOL][0], merged[SPATIAL][0], np.concatenate(kept) if keep else None, about)


def read_reference(path: str, extract: Extractor, given: str) -> Reference:
    """A reference out of a file.

    ``mu`` and ``sigma`` are statistics of the pooled features (EDM), ``mu_s`` and ``sigma_s`` of "spatial" (ADM);
    ``arr_0`` holds images as uint8 (ADM), whose features are computed; ``features``, ``num_images``, ``resize`` and
    ``weights`` are written by :func:`write_reference` and must agree with ``extract``.
    """
    try:
        file = io.BytesIO(as_path(path).read_bytes()) if in_bucket(path) else as_path(path)
        arrays: dict[str, Any] = read_arrays(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{given}: must be an .npz file of arrays: {error}") from error
    for name, value in {"resize": extract.convention, "weights": extract.checksum}.items():
        if name in arrays and str(arrays[name]) != value:
            raise ConfigError(f"{given}: its features have {name} {arrays[name]}, the samples have {value}")
    count = int(arrays["num_images"]) if "num_images" in arrays else None
    pool = _from_file(arrays, count, "mu", "sigma", SIZES[POOL], given)
    spatial = _from_file(arrays, count, "mu_s", "sigma_s", SIZES[SPATIAL], given)
    images, features = arrays.get("arr_0"), arrays.get("features")
    about = f"{Path(path).name}, " + (f"{count:,} images" if count else "of others: how they resized is not in it")
    if images is not None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) < 2:
            shape = f"{images.dtype} {images.shape}"
            raise ConfigError(f"{given}: its arr_0 must be uint8 images (N, H, W, 3), at least 2, got {shape}")
        print(f"reference images of {path}: features of {len(images):,}", flush=True)
        new = reference_of(extract, _parts(images), len(images), about)
        pool, spatial, features = pool or new.pool, spatial or new.spatial, new.features
    if pool is None:
        raise ConfigError(f"{given}: must hold mu and sigma, or images as arr_0; it has {', '.join(arrays)}")
    return Reference(pool, spatial, features, about)


def write_reference(path: str | Path, reference: Reference, extract: Extractor) -> Path:
    """Writes a reference, atomically, in the layout of EDM with the fields of ADM and its own provenance."""
    arrays = {"mu": reference.pool.mean, "sigma": reference.pool.covariance, "num_images": reference.pool.count}
    if reference.spatial is not None:
        arrays |= {"mu_s": reference.spatial.mean, "sigma_s": reference.spatial.covariance}
    if reference.features is not None:
        arrays["features"] = reference.features
    archive = io.BytesIO()
    np.savez(archive, **arrays, resize=extract.convention, weights=extract.checksum)
    return write_atomic(path, archive.getvalue())


def _from_file(arrays, count, mean: str, covariance: str, size: int, given: str) -> FeatureStatistics | None:
    if mean not in arrays or covariance not in arrays:
        return None
    shapes = arrays[mean].shape, arrays[covariance].shape
    if shapes != ((size,), (size, size)):
        raise ConfigError(f"{given}: {mean} and {covariance} must be ({size},) and ({size}, {size}), got {shapes}")
    return FeatureStatistics(count, arrays[mean].astype(np.float64), arrays[covariance].astype(np.float64))


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))


def _joined(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows in larger parts: a merge of statistics costs as much as thousands of rows."""
    held: list[np.ndarray] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= ROWS:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)

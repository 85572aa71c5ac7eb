"""Pictures with their embeddings, which a trained encoder makes once and keeps beside its checkpoints."""

import contextlib
import hashlib
import io
from pathlib import Path

import jax
import numpy as np

from experiments import data
from experiments.cli.config import Config, ConfigError
from experiments.data import matching
from experiments.data.dataset import Dataset
from experiments.data.embeddings import EMBEDDING, Embeddings, are_examples, scaled
from experiments.data.images import Images
from experiments.models.contrastive import Encoder, open_encoder
from scorekit.io import as_path, write_atomic


def wanted(config: Config) -> bool:
    """Whether a config has embeddings as a condition or as examples."""
    return "embeddings" in config.data and config.data.embeddings.encoder is not None


def encoder_of(config: Config, workdir: str | Path | None = None) -> Encoder:
    """The encoder that ``config.data.embeddings`` names.

    Args:
      config: the full config.
      workdir: the run that it is of, for error messages.

    Raises:
      ConfigError: if there is none, or one that is not trained to its end, or of other pictures.
    """
    folder = config.data.embeddings.encoder
    given = f"config.data.embeddings.encoder={folder}" + ("" if workdir is None else f" of {workdir}")
    encoder = open_encoder(folder, given)
    matching.check(encoder.config, config, given, "this config" if workdir is None else str(workdir))
    return encoder


def load(config: Config, workdir: Path | None = None) -> Dataset:
    """The data set of a config with the embeddings of its pictures, or these as the examples, by its encoder."""
    encoder = encoder_of(config, workdir)
    dataset = data.load(config)
    assert isinstance(dataset, Images)
    if dataset.streaming:
        raise ConfigError(f"config.data.streaming={config.data.streaming}: must be False: embeddings are in memory")
    pictures = dataset
    if config.data.image_crop is not None or config.data.image_size != encoder.image_size:
        pictures = data.load(_of_size(config, encoder.image_size))
    folder = as_path(config.data.embeddings.encoder) / "embeddings"
    found = [_embedded(encoder, folder, pictures, part["x"]) for part in (pictures.train, pictures.test)]
    dataset.add(EMBEDDING, *found)
    dataset.encoder = encoder.checksum
    return Embeddings(dataset) if are_examples(config) else dataset


def _of_size(config: Config, size: int) -> Config:
    """The config of the same pictures in full, of another size, without conditions."""
    other = config.copy_and_resolve_references()
    with other.unlocked():
        other.data = data.FIELDS.defaults()
        for name in ("name", "data_dir", "train_split", "test_split", "path", "image_mode", "on_error", "label"):
            other.data[name] = config.data[name]
        other.data.image_size = size
    return other


def _kept(path: Path, rows: int) -> np.ndarray | None:
    """What :func:`_embedded` has written, or None if there is no such file or it is damaged."""
    if not path.is_file():
        return None
    try:
        found = np.load(io.BytesIO(path.read_bytes()))
    except (OSError, EOFError, ValueError, MemoryError):
        return None
    return found if found.dtype == np.float32 and found.ndim == 2 and len(found) == rows else None


def _embedded(encoder: Encoder, folder: Path, pictures: Dataset, x: np.ndarray) -> np.ndarray:
    """Embeddings ``(N, D)`` of mean square 1, from the file of these weights and pictures if there is one."""
    digest = hashlib.sha256(np.asarray(x).tobytes())
    for leaf in jax.tree.leaves(encoder.params):
        digest.update(np.asarray(leaf).tobytes())
    path = folder / f"{digest.hexdigest()[:32]}.npy"
    if (kept := _kept(path, len(x))) is not None:
        return kept
    found = scaled(encoder.embed_pictures(np.asarray(pictures.to_model(x)))).astype(np.float32)
    content = io.BytesIO()
    np.save(content, found)
    with contextlib.suppress(OSError):  # the folder of the encoder may be of somebody else
        write_atomic(path, content.getvalue())
    return found

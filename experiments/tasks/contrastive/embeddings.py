"""Trained contrastive encoders of pictures and captions, and data with the embeddings of their pictures.

An embedding of D values has norm 1; as a field of a batch, to networks, it is multiplied by sqrt(D), so that the mean
square of its values, and with it ``sigma_data``, is 1. Embeddings of data are kept with the run of their encoder.
"""

import contextlib
import functools
import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.choices import Choices
from experiments.cli.config import Config, ConfigError, leaves, require_field
from experiments.cli.fields import Section
from experiments.data import are_embeddings, captions
from experiments.data.conditions import EMBEDDING
from experiments.data.dataset import Batch, Dataset, Encoded, in_blocks
from experiments.data.display import Points, Preview, Scorer
from experiments.data.finite import keep_not_finite, zero_not_finite
from experiments.data.images import ImageSet
from experiments.models.networks import SIZES, module
from experiments.models.run_files import EVALUATED, check_same_data, check_weights, config_of, restore
from experiments.training import check_average
from scorekit import metrics
from scorekit.io import as_path, write_atomic
from scorekit.typing import PyTree

DUAL_ENCODERS = Choices(
    {"unet_encoder": "scorekit.networks:DualEncoder"},
    "unet_encoder",
    "What is trained: vectors of norm 1 of pictures, and of their captions.",
    bounds=SIZES,
    adapt=module,
)

_BLOCK = 100

FIELDS = Section(
    dual_encoder=DUAL_ENCODERS,
    evaluation=Section(ema=EVALUATED),
)
"""The sections of a config of contrastive encoders beside ``data`` and ``training``."""


def check(config: Config, dataset: Dataset) -> None:
    """Validates relations between fields; compiles nothing."""
    must, options = functools.partial(require_field, config), config.data
    must("data.name", isinstance(dataset, ImageSet), "a set of pictures with captions")
    must("data.image_size", options.image_size is not None, "set: pictures of one size are embedded")
    must("data.image_crop", options.image_crop is None, "None: full pictures are embedded")
    must("conditions.vector.name", config.conditions.vector.name == captions.POOLED, captions.POOLED)
    DUAL_ENCODERS.build(config, "dual_encoder")
    check_average(config, "evaluation.ema")


class Encoder:
    """Trained encoders of pictures and captions.

    Attributes:
      config: config of the run that trained them.
      features: length of an embedding.
      image_size: height of the pictures that it was trained on, in pixels.
      checksum: checksum of its weights, and of the fields of the config that give them their meaning.
    """

    def __init__(self, config: Config, module: nn.Module, params: PyTree, image_size: int):
        self.config, self.features, self.image_size = config, cast(Any, module).features, image_size
        self.params, self.checksum = params, _checksum(config, params)
        run = lambda method: jax.jit(lambda x: module.apply(params, x, method=method))
        self._pictures, self._captions = run("embed_pictures"), run("embed_captions")

    def embed_pictures(self, x: np.ndarray) -> np.ndarray:
        """Unit vectors ``(N, D)`` of pictures ``(N, H, W, C)`` in [-1, 1], which are :func:`resized` as in training."""
        return in_blocks(self._pictures, resized(np.asarray(x, np.float32), self.image_size), min(_BLOCK, len(x)))

    def embed_captions(self, vectors: np.ndarray) -> np.ndarray:
        """Unit vectors ``(N, D)`` of captions, from their vectors ``(N, E)`` by the encoder of text."""
        return in_blocks(self._captions, np.asarray(vectors, np.float32), min(_BLOCK, len(vectors)))

    def embed_texts(self, texts: Sequence[str], given: str | None = None) -> np.ndarray:
        """Unit vectors ``(N, D)`` of captions.

        Args:
          texts: N of them.
          given: the flag that they were typed at, for the error message where one is too long or unknown to the
            encoder of text; None for captions of data, which are cut with a warning.
        """
        return self.embed_captions(data.source_of(self.config).encode_given(list(texts), given).pooled)


def _checksum(config: Config, params: PyTree) -> str:
    length = config.conditions.captions.length or captions.LENGTH
    given = {name: value for name, value in leaves(config.dual_encoder) if value is not None}  # of later versions
    meaning = {**given, "image_size": config.data.image_size, "length": length}
    found = hashlib.sha256(json.dumps(meaning, sort_keys=True, default=str).encode())
    for leaf in jax.tree.leaves(params):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()[:32]


def resized(x: np.ndarray, size: int) -> np.ndarray:
    """Square pictures ``(N, H, H, C)`` averaged over squares, or their pixels repeated, to ``size`` pixels a side.

    >>> resized(np.arange(16.0).reshape(1, 4, 4, 1), 2)[0, ..., 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    >>> resized(np.ones((1, 3, 3, 1)), 2)
    Traceback (most recent call last):
    ValueError: x must be pictures (N, H, H, C) with H a multiple or a divisor of 2, got (1, 3, 3, 1)
    """
    shape = np.shape(x)
    if len(shape) != 4 or shape[1] != shape[2] or (shape[1] % size and size % shape[1]):
        raise ValueError(f"x must be pictures (N, H, H, C) with H a multiple or a divisor of {size}, got {shape}")
    if shape[1] >= size:
        side = shape[1] // size
        return x.reshape(shape[0], size, side, size, side, shape[3]).mean((2, 4))
    side = size // shape[1]
    return x.repeat(side, axis=1).repeat(side, axis=2)


def open_encoder(workdir: str | Path, given: str) -> Encoder:
    """The encoders that a run has trained; ``given`` is the flag or field that names it, for error messages."""
    folder = as_path(workdir)
    config = config_of(folder, given, "dual_encoder", Section(data=data.KINDS, **FIELDS))
    check_weights(config, folder)
    module = DUAL_ENCODERS.build(config, "dual_encoder")
    step, params = restore(given, folder, None, config.evaluation.ema)
    if step < config.training.steps:
        raise ConfigError(
            f"{given}: is not finished, at step {step:,} of {config.training.steps:,}; continue it, or "
            f"end it by --config.training.steps={step} of experiments.train"
        )
    return Encoder(config, module, jax.tree.map(jnp.asarray, params), config.data.image_size)


def scaled(embeddings: np.ndarray) -> np.ndarray:
    """Unit vectors ``(N, D)`` as networks receive them, times sqrt(D).

    >>> scaled(np.array([[0.6, 0.0, 0.8, 0.0]])).tolist()
    [[1.2, 0.0, 1.6, 0.0]]
    """
    return math.sqrt(embeddings.shape[-1]) * embeddings


class Embeddings(Encoded):
    """The embeddings of a set of pictures that has the field :data:`EMBEDDING`; samples are of mean square 1 too."""

    def __init__(self, inner: Dataset):
        super().__init__(inner)
        self.name = f"embeddings of {inner.name}"
        self.train, self.test = (_as_examples(part) for part in (inner.train, inner.test))
        self.shape = self.train["x"].shape[1:]
        self.vectors, self.from_fields, self.encoder = inner.vectors, inner.from_fields, inner.encoder

    def batch(self, seed, step, size):
        return _as_examples(self.inner.batch(seed, step, size))

    def batches(self, seed, first_step, size, process_index=0, process_count=1):
        return (_as_examples(one) for one in self.inner.batches(seed, first_step, size, process_index, process_count))

    def to_model(self, x):
        return jnp.asarray(x)

    def from_model(self, x, conditions=None):
        kept = zero_not_finite(x)
        square = jnp.maximum(jnp.square(kept).mean(-1, keepdims=True), 1e-12)
        return keep_not_finite(kept / jnp.sqrt(square), x)

    def view(self, samples):
        """The first two values of embeddings."""
        return Points(samples[:, :2])

    def preview(self):
        rows = np.arange(min(500, len(self.test["label"])))
        return Preview(self.test["label"][rows], ["samples", "data"], {k: v[rows] for k, v in self.test.items()})

    def guidance_labels(self):
        return self.test["label"][:500]

    def scorer(self):
        test, train = self.test["x"], self.train["x"][:5000]
        distance = lambda x: {"energy distance": float(metrics.energy_distance(test, x))}
        caption = "Energy distance: of samples, and of training embeddings, to those of the test pictures."
        return Scorer(real=distance(train), samples=lambda x, labels: distance(x[:5000]), caption=caption)


def _as_examples(part: Batch) -> Batch:
    return {**{name: value for name, value in part.items() if name != EMBEDDING}, "x": part[EMBEDDING]}


def encoder_of(config: Config, workdir: str | Path | None = None) -> Encoder:
    """The encoder of ``config.conditions.embeddings``; ``workdir`` is the run of the config, for error messages."""
    folder = config.conditions.embeddings.encoder
    given = f"config.conditions.embeddings.encoder={folder}" + ("" if workdir is None else f" of {workdir}")
    encoder = open_encoder(folder, given)
    check_same_data(encoder.config, config, given, "this config" if workdir is None else str(workdir))
    return encoder


def with_embeddings(config: Config, workdir: Path | None = None) -> Dataset:
    """The data set of a config with the embeddings of its pictures, or these as the examples, by its encoder."""
    encoder = encoder_of(config, workdir)
    dataset = data.build(config)
    assert isinstance(dataset, ImageSet)
    if dataset.streaming:
        raise ConfigError(f"config.data.streaming={config.data.streaming}: must be False: embeddings are in memory")
    pictures = dataset
    if config.data.image_crop is not None or config.data.image_size != encoder.image_size:
        pictures = replace(dataset, image_size=encoder.image_size, image_crop=None, augment=None, captions=None)
    folder = as_path(config.conditions.embeddings.encoder) / "embeddings"
    found = [_embedded(encoder, folder, pictures, part["x"]) for part in (pictures.train, pictures.test)]
    dataset.add(EMBEDDING, *found)
    dataset.encoder = encoder.checksum
    return Embeddings(dataset) if are_embeddings(config) else dataset


def _kept(path: Path, rows: int) -> np.ndarray | None:
    """The rows that :func:`_embedded` has written, or None if there is no such file or it is damaged."""
    try:
        found = np.load(io.BytesIO(path.read_bytes())) if path.is_file() else np.zeros(0)
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

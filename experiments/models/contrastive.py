"""Contrastive encoders of pictures and captions from a config, and what has trained them opened for other programs."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.config import Config, ConfigError, leaves, require
from experiments.cli.fields import Choices, Section
from experiments.data import captions
from experiments.data.dataset import Batch, Dataset, in_blocks
from experiments.data.images import Images
from experiments.models import choices
from experiments.models.run_files import EVALUATED, check_average, check_weights, config_of, restore
from experiments.models.samples import check_samples
from scorekit.io import as_path
from scorekit.losses.contrastive import contrastive_loss
from scorekit.metrics import retrieval_accuracy
from scorekit.typing import Array, Key, PyTree

_BLOCK = 100


class DualEncoders(NamedTuple):
    """What a config describes."""

    module: nn.Module
    dataset: Images


FIELDS = Section(
    dual_encoder=Choices(choices.DUAL_ENCODERS, "unet_encoder", """
        What is trained: vectors of norm 1 of pictures, and of their captions."""),
    evaluation=Section(
        ema=EVALUATED,
    ),
)  # fmt: skip
"""The sections of a config of contrastive encoders beside ``data`` and ``training``."""


def check(config: Config) -> None:
    """Validates relations between fields; compiles nothing."""
    require(issubclass(data.kind_of(config), Images), "data.name", config.data.name, "a set of pictures with captions")
    options = config.data
    require(options.image_size is not None, "data.image_size", None, "set: pictures of one size are embedded")
    require(options.image_crop is None, "data.image_crop", options.image_crop, "None: full pictures are embedded")
    require(options.vector.name == captions.POOLED, "data.vector.name", options.vector.name, captions.POOLED)
    choices.build_module(config, "dual_encoder", choices.DUAL_ENCODERS)
    check_average(config, "evaluation.ema")


def check_batch(config: Config) -> None:
    """Validates that all pairs of a batch are there at once: each is compared with all others."""
    options = config.training
    require(options.accumulate == 1, "training.accumulate", options.accumulate, "1: all pairs of a batch are compared")
    require(options.batch_size > 1, "training.batch_size", options.batch_size, "at least 2: pairs are compared")


def build(config: Config, dataset: Dataset) -> DualEncoders:
    """Puts the parts of the config together.

    Raises:
      ConfigError: for pictures without a caption.
    """
    assert isinstance(dataset, Images)
    for part in (dataset.train, dataset.test):
        without = int(np.sum(~part["caption_mask"].any(1)))
        require(without == 0, "data.name", config.data.name, f"of pictures with captions, {without} of "
                f"{len(part['x'])} have none")  # fmt: skip
    module = choices.build_module(config, "dual_encoder", choices.DUAL_ENCODERS)
    return DualEncoders(module, dataset)


def init_params(built: DualEncoders, key: Key) -> PyTree:
    """The initial parameters.

    Raises:
      ConfigError: if the network does not fit the pictures.
    """
    x, vectors = jnp.zeros((1, *built.dataset.shape)), jnp.zeros((1, built.dataset.test["caption_pooled"].shape[1]))
    try:
        return jax.jit(built.module.init)(key, x, vectors)
    except ValueError as error:
        raise ConfigError(f"config.dual_encoder: {error}") from error


def make_prepare(built: DualEncoders):
    """``(key, batch) -> batch``; nothing of a step is random but the batch."""

    def prepare(key: Key, batch: Batch) -> dict[str, Array]:
        del key
        vectors = jnp.asarray(batch["caption_pooled"], jnp.float32)
        return {"x": built.dataset.to_model(batch["x"]), "caption": vectors, "subject": jnp.asarray(batch["subject"])}

    return prepare


def make_loss(built: DualEncoders, axes: tuple[str, ...] = ()):
    """``(params, prepared batch) -> (loss of each example, auxiliary values of each example)``.

    Args:
      built: the encoders.
      axes: of the devices that share a batch, inside a training step: embeddings are gathered over them, so that the
        result does not depend on how many there are.
    """

    def loss(params, batch):
        embedded: Any = built.module.apply(params, batch["x"], batch["caption"])
        pictures, texts, log_temperature = embedded
        given, number, first = (pictures, texts, batch["subject"]), len(pictures), 0
        if axes:
            given = jax.tree.map(lambda x: jax.lax.all_gather(x, axes, tiled=True), given)
            first = number * jax.lax.axis_index(axes)
        of_all = contrastive_loss(given[0], given[1], log_temperature, given[2])
        value = jax.lax.dynamic_slice_in_dim(of_all, first, number)
        return value, {"train/temperature": jnp.full(value.shape, jnp.exp(log_temperature))}

    return loss


def retrieval(
    pictures: np.ndarray, texts: np.ndarray, subjects: np.ndarray, counts: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Recall among all pairs: how often what is of the subject of a picture, or a caption, is among the ``k`` closest.

    Args:
      pictures: embeddings of pictures, ``(N, D)``.
      texts: of their captions, likewise.
      subjects: integers ``(N,)``, equal for pictures that show the same, whose captions are right for each other.
      counts: the ``k``.

    Returns:
      By name the share of pictures for which a right caption is found, of captions for which a right picture is, and
      the same by chance. Equal similarities count as in a random order.

    Raises:
      ConfigError: if an embedding is not finite.

    >>> retrieval(np.eye(4), np.eye(4), np.arange(4), (1,))
    {'caption of a picture, R@1': 1.0, 'picture of a caption, R@1': 1.0, 'chance, R@1': 0.25}
    """
    for name, found in (("pictures", pictures), ("captions", texts)):
        check_samples(found, "contrastive encoders", f"embeddings of {name}")
    similarity = np.asarray(pictures) @ np.asarray(texts).T
    right = np.asarray(subjects)[:, None] == np.asarray(subjects)
    named = {
        "caption of a picture": similarity,
        "picture of a caption": similarity.T,
        "chance": np.zeros_like(similarity),
    }
    mean = lambda scores, k: float(np.mean(np.asarray(retrieval_accuracy(scores, right, k=k), np.float64)))
    return {f"{name}, R@{k}": mean(scores, k) for k in counts for name, scores in named.items()}


class Encoder:
    """Trained encoders of pictures and captions.

    Attributes:
      config: of the run that has trained them.
      features: length of an embedding.
      image_size: height of the pictures that it was trained on, in pixels.
      checksum: of its weights, and of the fields of the config that say what they mean.
    """

    def __init__(self, config: Config, module: nn.Module, params: PyTree, image_size: int):
        self.config, self.features, self.image_size = config, cast(Any, module).features, image_size
        self.params, self.checksum = params, _checksum(config, params)
        run = lambda method: jax.jit(lambda x: module.apply(params, x, method=method))
        self._pictures, self._captions = run("embed_pictures"), run("embed_captions")

    def embed_pictures(self, x: np.ndarray) -> np.ndarray:
        """Unit vectors ``(N, D)`` of pictures ``(N, H, W, C)`` in [-1, 1].

        Pictures of another size are averaged over squares, or their pixels repeated, to that of training.

        Raises:
          ValueError: unless the two sizes are multiples of one another.
        """
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
        return self.embed_captions(captions.encode_given(self.config, list(texts), given).pooled)


def _checksum(config: Config, params: PyTree) -> str:
    length = config.data.captions.length or captions.LENGTH
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
    """The encoders that a run has trained.

    Args:
      workdir: the folder of the run.
      given: the flag or field that names it, for the error message.

    Raises:
      ConfigError: if there is no such run, or it is not trained to its last step.
    """
    folder = as_path(workdir)
    config = config_of(folder, given, "dual_encoder", Section(data=data.FIELDS, **FIELDS))
    check_weights(config, folder)
    module = choices.build_module(config, "dual_encoder", choices.DUAL_ENCODERS)
    step, params = restore(given, folder, None, config.evaluation.ema)
    if step < config.training.steps:
        raise ConfigError(f"{given}: is not finished, at step {step:,} of {config.training.steps:,}; continue it, or "
                          f"end it by --config.training.steps={step} of experiments.train")  # fmt: skip
    return Encoder(config, module, jax.tree.map(jnp.asarray, params), config.data.image_size)

"""Latents as a data set: a diffusion model receives what a trained autoencoder encodes; its samples are decoded."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import data
from experiments.cli.config import Config, ConfigError, leaves, lookup, to_text
from experiments.cli.fields import Section
from experiments.data.dataset import Batch, Dataset, check_examples, in_blocks, keep_not_finite
from experiments.models import autoencoder, encoded
from experiments.models.run_files import check_weights, config_of, restore
from scorekit.data import batch_at
from scorekit.io import as_path
from scorekit.networks import nearest_code
from scorekit.typing import Array

STATISTICS = "latents.json"
"""The file of a finished run of an autoencoder with the mean and standard deviation of its latents."""


class Latents(Dataset):
    """The latents of a data set, standardised by channel; samples are decoded to data.

    Examples are encoded once, when they are first needed, and stored as floats with the raw example under
    ``original``. With codes they are code vectors, and samples are quantised to the nearest code before decoding.
    Batches have ``rows`` where these are given: the training examples, encoded before. ``inner`` is the data set.
    """

    def __init__(
        self,
        inner: Dataset,
        built: autoencoder.Latent,
        params,
        mean: np.ndarray,
        std: np.ndarray,
        rows: Batch | None = None,
    ):
        self.inner, self._built, self._params, self._rows = inner, built, params, rows
        self.streaming = inner.streaming
        self._mean, self._std = (np.asarray(value, np.float32) for value in (mean, std))
        self.name, self.num_classes, self.examples = f"latents of {inner.name}", inner.num_classes, inner.examples
        self.shape = built.module.latent_shape(inner.shape)
        self.max_evaluated, self.max_held_out = inner.max_evaluated, inner.max_held_out
        self.evaluation_batch = inner.evaluation_batch
        self.maps, self.vectors, self.from_fields = inner.maps, inner.vectors, inner.from_fields
        self.tokens, self.credit = inner.tokens, inner.credit
        self._encode = autoencoder.make_encode(built, params)

    @functools.cached_property
    def train(self) -> Batch:
        return self._encoded(self.inner.train)

    @functools.cached_property
    def test(self) -> Batch:
        return self._encoded(self.inner.test)

    def _encoded(self, part: Batch) -> Batch:
        z = in_blocks(self._encode, part["x"], min(50, len(part["x"])))
        x = (z - self._mean) / self._std
        check_examples({"x": x}, "config.data.latents", f"examples, {self.name},")
        return {**part, "x": x, "original": part["x"]}

    def batch(self, seed, step, size):
        part = self._rows or {name: value for name, value in self.train.items() if name != "original"}
        return batch_at(part, seed=seed, step=step, batch_size=size)

    def to_model(self, x):
        return jnp.asarray(x)

    def _method(self, x: Array, method: str) -> Array:
        return autoencoder.apply(self._built.module, self._params, x, method=method)

    def quantise(self, x: Array) -> Array:
        """Standardised latents with each vector at its nearest code; unchanged without codes."""
        return (self._method(x * self._std + self._mean, "quantise") - self._mean) / self._std

    def decode(self, x: Array) -> Array:
        """Standardised latents as the input of the autoencoder."""
        return self._method(self._method(x * self._std + self._mean, "quantise"), "decode")

    def from_model(self, x, conditions=None):
        return keep_not_finite(self.inner.from_model(self.decode(x)), x)

    def real(self, part):
        return self.inner.real({**part, "x": part["original"]})

    def view(self, samples):
        return self.inner.view(samples)

    def preview(self):
        preview = self.inner.preview()
        if preview.reference is None:
            return preview
        return preview._replace(reference={**preview.reference, "original": preview.reference["x"]})

    def guidance_labels(self):
        return self.inner.guidance_labels()

    def scorer(self):
        return self.inner.scorer()

    @property
    def codes(self) -> Array | None:
        """The codes, standardised, ``(K, D)``; None for continuous latents."""
        if self._built.module.codes is None:
            return None
        return (self._params["params"]["codebook"] - self._mean) / self._std

    def index(self, x: Array) -> Array:
        """The nearest code of each vector.

        Raises:
          ValueError: if there are no codes.
        """
        codes = self.codes
        if codes is None:
            raise ValueError(f"{self.name} must have codes, they are continuous")
        return nearest_code(x, codes)


def code_margin(dataset: Latents, x: Array) -> dict[str, float]:
    """How close samples are to the codes that they are quantised to.

    ``distance`` is the root mean square distance to the nearest code over that between a code and its nearest
    neighbour; ``unambiguous`` the share of vectors that are closer to their code than half the distance from it to its
    nearest neighbour, so that no other code is as close.
    """
    codes = dataset.codes
    assert codes is not None
    return {name: float(value) for name, value in _code_margin(x, codes).items()}


@jax.jit
def _code_margin(x: Array, codes: Array) -> dict[str, Array]:
    vectors, index = jnp.reshape(x, (-1, codes.shape[1])), nearest_code(x, codes).ravel()
    between = jnp.linalg.norm(codes[:, None] - codes[None], axis=-1) + jnp.diag(jnp.full(len(codes), math.inf))
    nearest = between.min(axis=1)[index]
    away = jnp.linalg.norm(vectors - codes[index], axis=-1)
    return {
        "distance": jnp.sqrt(jnp.mean(away**2) / jnp.mean(nearest**2)),
        "unambiguous": jnp.mean(away < 0.5 * nearest),
    }


def load_data(config: Config, workdir: Path | None = None) -> Dataset:
    """The data set of a config, as latents where ``config.data.latents`` names an autoencoder, with embeddings where
    ``config.data.embeddings.encoder`` names contrastive encoders.

    Args:
      config: the full config.
      workdir: the run that it is of, for error messages.
    """
    if encoded.has_embeddings(config):
        return encoded.with_embeddings(config, workdir)
    dataset = data.load(config)
    return open_latents(config, dataset) if config.data.get("latents") else dataset


def open_latents(config: Config, inner: Dataset) -> Latents:
    """The latents of ``inner`` by the autoencoder in ``config.data.latents``.

    Raises:
      ConfigError: if there is no finished run there, or one of other data.
    """
    given, workdir = f"config.data.latents={config.data.latents}", as_path(config.data.latents)
    if (workdir / encoded.DESCRIPTION).exists():
        found, rows = encoded.read_latents(workdir, config, given, inner.examples)
        built = autoencoder.Latent(found.module, ConfigDict(), inner)
        return Latents(inner, built, found.params, np.zeros(()), np.ones(()), rows)
    crop = config.data.crop
    if crop is not None:
        raise ConfigError(f"config.data.crop={crop}: must be None: latents are of full sounds")
    if inner.streaming:
        raise ConfigError(
            f"config.data.streaming={config.data.streaming}: must be False: latents are kept in memory, unless "
            f"experiments.latents.precompute wrote them"
        )
    for name in ("config.json", STATISTICS):
        if not (workdir / name).exists():
            raise ConfigError(f"{given}: there is no finished run here (no {name}); train one with experiments.train")
    own = config_of(workdir, given, "autoencoder", Section(data=data.UNCONDITIONED, **autoencoder.FIELDS))
    data.check(own)
    autoencoder.check(own)
    check_weights(own, workdir)
    theirs, ours = (dict(leaves(lookup(c, "data.representation"))) for c in (own, config))
    for field, a, b in (("data.name", own.data.name, config.data.name), ("data.representation", theirs, ours)):
        if a != b:
            raise ConfigError(f"{given}: was trained with config.{field}={to_text(a)}, this config has {to_text(b)}")
    built = autoencoder.build_latent(own, inner)
    _, params = restore(given, workdir, None, own.evaluation.ema)
    found = json.loads((workdir / STATISTICS).read_text())
    params = jax.tree.map(jnp.asarray, params)
    return Latents(inner, built, params, np.array(found["mean"]), np.array(found["standard deviation"]))

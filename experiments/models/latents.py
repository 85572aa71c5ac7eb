"""Latents as a data set: a diffusion model sees what a trained autoencoder encodes, and its samples are decoded."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.models import autoencoder as latent_model
from experiments.cli.config import Config, ConfigError, descend, filled, leaves, load_resolved, shown
from experiments.configs import base_latent
from experiments.data.dataset import Batch, Dataset
from scorekit import training
from scorekit.networks import nearest_code
from scorekit.typing import Array

STANDARD = "latents.json"
"""The file of a finished run of experiments.latents.train that holds mean and standard deviation of its latents."""


class Latents(Dataset):
    """The latents of a data set, standardised by channel; samples are pictures or sounds again.

    Examples are encoded once, when they are first needed, and stored as floats; ``original`` beside them is what they
    are of. With codes they are code vectors, and samples are snapped to the nearest code before they are decoded.
    """

    latent = True

    def __init__(self, inner: Dataset, built: latent_model.Latent, params, mean: np.ndarray, spread: np.ndarray):
        self._inner, self._built, self._params = inner, built, params
        self._mean, self._spread = (np.asarray(value, np.float32) for value in (mean, spread))
        self.name, self.num_classes, self.examples = f"latents of {inner.name}", inner.num_classes, inner.examples
        self.levels, self.sample_rate = None, inner.sample_rate
        self.shape = built.module.latent_shape(inner.shape)
        self._encode = latent_model.make_encode(built, inner, params)

    @functools.cached_property
    def train(self) -> Batch:  # type: ignore[override]
        return self._encoded(self._inner.train)

    @functools.cached_property
    def test(self) -> Batch:  # type: ignore[override]
        return self._encoded(self._inner.test)

    def _encoded(self, part: Batch) -> Batch:
        z = latent_model.in_batches(self._encode, part["x"], min(50, len(part["x"])))
        return {**part, "x": (z - self._mean) / self._spread, "original": part["x"]}

    def batch(self, seed, step, size):
        from scorekit.data import batch_at

        part = {name: value for name, value in self.train.items() if name != "original"}
        return batch_at(part, seed=seed, step=step, batch_size=size)

    def to_model(self, x):
        return jnp.asarray(x)

    def snap(self, x: Array) -> Array:
        """Standardised latents with each vector at its nearest code; unchanged without codes."""
        z = latent_model.apply(self._built.module, self._params, x * self._spread + self._mean, method="snap")
        return (z - self._mean) / self._spread

    def decode(self, x: Array) -> Array:
        """Standardised latents as what the network of the autoencoder saw."""
        z = latent_model.apply(self._built.module, self._params, x * self._spread + self._mean, method="snap")
        return latent_model.apply(self._built.module, self._params, z, method="decode")

    def to_sound(self, x, given=None):
        return self._inner.to_sound(self.decode(x))

    def from_model(self, x, given=None):
        return self._inner.from_model(self.decode(x))

    def real(self, part):
        return self._inner.real({**part, "x": part["original"]})

    @property
    def codes(self) -> Array | None:
        """The codes, standardised, ``(K, D)``; None for continuous latents."""
        if self._built.module.codes is None:
            return None
        return (self._params["params"]["codebook"] - self._mean) / self._spread

    def index(self, x: Array) -> Array:
        """The nearest code of each vector.

        Raises:
          ValueError: if there are no codes.
        """
        codes = self.codes
        if codes is None:
            raise ValueError(f"{self.name} must have codes, they are continuous")
        return nearest_code(x, codes)


def margin(dataset: Latents, x: Array) -> dict[str, float]:
    """How near samples are to the codes that they are snapped to.

    ``distance`` is the root mean square distance to the nearest code over that between a code and its nearest
    neighbour; ``unambiguous`` the share of vectors that are nearer to their code than half the way from it to its
    nearest neighbour, so that no other code can be meant.
    """
    codes = dataset.codes
    assert codes is not None
    vectors, index = jnp.reshape(x, (-1, codes.shape[1])), dataset.index(x).ravel()
    between = jnp.linalg.norm(codes[:, None] - codes[None], axis=-1) + jnp.diag(jnp.full(len(codes), math.inf))
    nearest = between.min(axis=1)[index]
    away = jnp.linalg.norm(vectors - codes[index], axis=-1)
    return {
        "distance": float(jnp.sqrt(jnp.mean(away**2) / jnp.mean(nearest**2))),
        "unambiguous": float(jnp.mean(away < 0.5 * nearest)),
    }


def open_latents(config: Config, inner: Dataset) -> Latents:
    """The latents of ``inner`` by the autoencoder whose run ``config.data.latents`` names.

    Raises:
      ConfigError: if there is no finished run there, or one of other data.
    """
    given, workdir = f"config.data.latents={config.data.latents}", Path(config.data.latents).expanduser()
    for name in ("config.json", STANDARD):
        if not (workdir / name).exists():
            raise ConfigError(
                f"{given}: there is no finished run here (no {name}); train with experiments.latents.train"
            )
    own: Config = load_resolved(workdir / "config.json")
    if "autoencoder" not in own:
        raise ConfigError(f"{given}: this run is no autoencoder; train one with experiments.latents.train")
    own = filled(own, base_latent.get_config())
    latent_model.check(own)
    theirs, ours = ({name: value for name, value in leaves(descend(c, "data.form"))} for c in (own, config))
    for field, a, b in (("data.name", own.data.name, config.data.name), ("data.form", theirs, ours)):
        if a != b:
            raise ConfigError(f"{given}: was trained with config.{field}={shown(a)}, this config has {shown(b)}")
    built = latent_model.build_latent(own, inner)
    average = None if own.evaluation.ema == "none" else own.evaluation.ema
    try:
        _, params = training.restore_params(workdir / "checkpoints", decay=average)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(f"{given}: {error}") from error
    found = json.loads((workdir / STANDARD).read_text())
    params = jax.tree.map(jnp.asarray, params)
    return Latents(inner, built, params, np.array(found["mean"]), np.array(found["standard deviation"]))

"""Latents as a data set: a diffusion model receives the latents of a trained autoencoder; its samples are decoded."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import data, tasks
from experiments.cli.config import Config, ConfigError, leaves, to_text
from experiments.data.dataset import Batch, Dataset, Encoded, in_blocks
from experiments.data.finite import check_examples, keep_not_finite
from experiments.models.run_files import check_weights, config_of, restore
from experiments.tasks.latents import pretrained
from experiments.tasks.latents.model import Latent, make_encode, num_levels
from scorekit.data import batch_at
from scorekit.io import as_path
from scorekit.typing import Array, PyTree

STATISTICS = "latents.json"
"""The file of a finished run of an autoencoder with the mean and standard deviation of its latents."""


class Latents(Encoded):
    """The latents of a data set, standardised by channel; samples are decoded to data.

    Examples are encoded once, when they are first needed, and stored as floats with the raw example under
    ``original``. With codes they are code vectors, and samples are quantised to the nearest code before decoding.
    Batches have ``rows`` where these are given: the training examples, encoded before. ``inner`` is the data set.
    """

    def __init__(
        self,
        inner: Dataset,
        built: Latent,
        params: PyTree,
        mean: np.ndarray,
        std: np.ndarray,
        rows: Batch | None = None,
    ):
        super().__init__(inner)
        self._built, self._params, self._rows = built, params, rows
        self._mean, self._std = (np.asarray(value, np.float32) for value in (mean, std))
        self.name, self.shape = f"latents of {inner.name}", built.module.latent_shape(inner.shape)
        self.maps, self.vectors, self.from_fields = inner.maps, inner.vectors, inner.from_fields
        self.tokens, self.credit = inner.tokens, inner.credit
        self._encode = make_encode(built, params)

    @functools.cached_property
    def train(self) -> Batch:
        return self._encoded(self.inner.train)

    @functools.cached_property
    def test(self) -> Batch:
        return self._encoded(self.inner.test)

    def _encoded(self, part: Batch) -> Batch:
        z = in_blocks(self._encode, part["x"], min(50, len(part["x"])))
        x = (z - self._mean) / self._std
        check_examples({"x": x}, "config.latents", f"examples, {self.name},")
        return {**part, "x": x, "original": part["x"]}

    def batch(self, seed, step, size):
        part = self._rows or {name: value for name, value in self.train.items() if name != "original"}
        return batch_at(part, seed=seed, step=step, batch_size=size)

    def to_model(self, x):
        return jnp.asarray(x)

    def _method(self, x: Any, method: str) -> Any:
        return self._built.module.apply(self._params, x, method=method)

    def _raw(self, x: Array) -> Array:
        return x * self._std + self._mean

    def decode(self, x: Array) -> Array:
        """Standardised latents as the input of the autoencoder."""
        z = self._raw(x)
        return self._method(z if self.num_codes is None else self._method(z, "quantise"), "decode")

    def from_model(self, x, conditions=None):
        return keep_not_finite(self.inner.from_model(self.decode(x)), x)

    def real(self, part):
        return self.inner.real({**part, "x": part["original"]})

    def preview(self):
        preview = self.inner.preview()
        reference = preview.reference and {**preview.reference, "original": preview.reference["x"]}
        return preview._replace(reference=reference)

    @property
    def num_codes(self) -> int | None:
        """The number of codes of each level; None for continuous latents."""
        return getattr(self._built.module, "codes", None)

    @property
    def codes(self) -> Array | None:
        """The codes, standardised, ``(K, D)``; None for continuous latents and for several levels of codes."""
        if num_levels(self._built.module) != 1:
            return None
        return (self._params["params"]["codebook"] - self._mean) / self._std

    @property
    def code_grids(self) -> list[tuple[int, ...]]:
        """The shape of the codes of each level, coarsest first; nothing for continuous latents."""
        factors = () if self.num_codes is None else self._built.module.levels
        return [tuple(side // factor for side in self.shape[:-1]) for factor in factors]

    @functools.cached_property
    def code_levels(self) -> Callable[[Any], list[Array]]:
        """Standardised latents to the codes of each level, coarsest first."""
        return jax.jit(lambda x: [level.index for level in self._method(self._raw(x), "code_levels")])

    def from_codes(self, index: Sequence[Array]) -> Array:
        """The latent of the codes of the first levels, standardised."""
        return (self._method(index, "from_codes") - self._mean) / self._std

    def decode_codes(self, index: Sequence[Array]) -> Array:
        """The codes of the first levels as data."""
        return self.inner.from_model(self._method(self._method(index, "from_codes"), "decode"))


def open_latents(config: Config, inner: Dataset) -> Latents:
    """The latents of ``inner`` by the run in ``config.latents``: of an autoencoder, or of any task whose network has
    ``encode``, ``decode`` and ``latent_shape`` and whose folder has :data:`STATISTICS`."""
    given, workdir = f"config.latents={config.latents}", as_path(config.latents)
    if (workdir / pretrained.DESCRIPTION).exists():
        found, rows = pretrained.read_latents(workdir, config, given, inner.examples)
        return Latents(inner, Latent(found.module, ConfigDict(), inner), found.params, np.zeros(()), np.ones(()), rows)
    crop = config.data.get("crop")
    if crop is not None and config.data.name != "sounds":
        raise ConfigError(f"config.data.crop={crop}: must be None: latents are of full sounds")
    if inner.streaming:
        raise ConfigError(
            f"config.data.streaming={config.data.streaming}: must be False: latents are kept in memory, unless "
            f"experiments.tasks.latents.precompute wrote them"
        )
    for name in ("config.json", STATISTICS):
        if not (workdir / name).exists():
            raise ConfigError(f"{given}: there is no finished run here (no {name}); train one with experiments.train")
    own = config_of(workdir, given)
    task = tasks.of(own)
    task.fields(own).check_values(own)
    check_weights(own, workdir)
    for field in ("name", "set", "representation"):
        a, b = (data.field_of(c, field) for c in (own, config))
        a, b = (dict(leaves(value)) if isinstance(value, ConfigDict) else value for value in (a, b))
        if a != b:
            field = f"config.data.{field}"
            raise ConfigError(f"{given}: was trained with {field}={to_text(a)}, this config has {to_text(b)}")
    setup = task.build(own, inner)
    module: Any = getattr(setup.model, "module", None)
    if lacking := [name for name in ("encode", "decode", "latent_shape") if not hasattr(module, name)]:
        raise ConfigError(f"{given}: this run {task.OPENED_BY}; its network has no {lacking[0]}")
    _, params = restore(given, workdir, None, setup.trained.ema)
    statistics = json.loads((workdir / STATISTICS).read_text())
    mean, std = (np.array(statistics[name]) for name in ("mean", "standard deviation"))
    return Latents(inner, Latent(module, ConfigDict(), inner), jax.tree.map(jnp.asarray, params), mean, std)

"""Latents as a data set: a diffusion model receives the latents of a trained autoencoder; its samples are decoded."""

import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import data
from experiments.cli.config import Config, ConfigError, leaves, to_text
from experiments.cli.fields import Section
from experiments.data.dataset import Batch, Dataset, Encoded, check_examples, in_blocks, keep_not_finite
from experiments.data.images import ImageSet
from experiments.models.run_files import check_weights, config_of, restore
from experiments.tasks.latents import model as autoencoder
from scorekit.data import batch_at
from scorekit.io import as_path, parse_json, read_file, read_json, regular_file, write_atomic
from scorekit.io.formats import autoencoder_kl
from scorekit.io.reading import read_weights
from scorekit.io.tensors import Tensors
from scorekit.networks import AutoencoderKL, nearest_code
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
        built: autoencoder.Latent,
        params,
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
        check_examples({"x": x}, "config.latents", f"examples, {self.name},")
        return {**part, "x": x, "original": part["x"]}

    def batch(self, seed, step, size):
        part = self._rows or {name: value for name, value in self.train.items() if name != "original"}
        return batch_at(part, seed=seed, step=step, batch_size=size)

    def to_model(self, x):
        return jnp.asarray(x)

    def _method(self, x: Any, method: str) -> Any:
        return self._built.module.apply(self._params, x, method=method)

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

    def preview(self):
        preview = self.inner.preview()
        reference = preview.reference and {**preview.reference, "original": preview.reference["x"]}
        return preview._replace(reference=reference)

    @property
    def codes(self) -> Array | None:
        """The codes, standardised, ``(K, D)``; None for continuous latents and for several levels of codes."""
        if autoencoder.num_levels(self._built.module) != 1:
            return None
        return (self._params["params"]["codebook"] - self._mean) / self._std

    @property
    def code_grids(self) -> list[tuple[int, ...]]:
        """The shape of the codes of each level, coarsest first; nothing for continuous latents."""
        factors = () if self.num_codes is None else getattr(self._built.module, "levels", ())
        return [tuple(side // factor for side in self.shape[:-1]) for factor in factors]

    @functools.cached_property
    def code_levels(self) -> Callable[[Any], list[Array]]:
        """Standardised latents to the codes of each level, coarsest first."""
        return jax.jit(lambda x: [level.index for level in self._method(x * self._std + self._mean, "code_levels")])

    @property
    def num_codes(self) -> int | None:
        """The number of codes of each level; None for continuous latents."""
        return self._built.module.codes

    def from_codes(self, index: Sequence[Array]) -> Array:
        """The latent of the codes of the first levels, standardised."""
        return (self._method(index, "from_codes") - self._mean) / self._std

    def decode_codes(self, index: Sequence[Array]) -> Array:
        """The codes of the first levels as data."""
        return self.inner.from_model(self._method(self._method(index, "from_codes"), "decode"))

    def index(self, x: Array) -> Array:
        """The nearest code of each vector."""
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

    @jax.jit
    def margin(x: Array, codes: Array) -> tuple[Array, Array]:
        vectors, index = jnp.reshape(x, (-1, codes.shape[1])), nearest_code(x, codes).ravel()
        between = jnp.linalg.norm(codes[:, None] - codes[None], axis=-1) + jnp.diag(jnp.full(len(codes), math.inf))
        nearest, away = between.min(axis=1)[index], jnp.linalg.norm(vectors - codes[index], axis=-1)
        return jnp.sqrt(jnp.mean(away**2) / jnp.mean(nearest**2)), jnp.mean(away < 0.5 * nearest)

    return dict(zip(("distance", "unambiguous"), map(float, margin(x, dataset.codes)), strict=True))


def open_latents(config: Config, inner: Dataset) -> Latents:
    """The latents of ``inner`` by the autoencoder in ``config.latents``."""
    given, workdir = f"config.latents={config.latents}", as_path(config.latents)
    if (workdir / DESCRIPTION).exists():
        found, rows = read_latents(workdir, config, given, inner.examples)
        built = autoencoder.Latent(found.module, ConfigDict(), inner)
        return Latents(inner, built, found.params, np.zeros(()), np.ones(()), rows)
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
    own = config_of(workdir, given, "autoencoder", Section(data=data.KINDS, **autoencoder.FIELDS))
    check_weights(own, workdir)
    for field in ("name", "set", "representation"):
        a, b = (data.field_of(c, field) for c in (own, config))
        a, b = (dict(leaves(value)) if isinstance(value, ConfigDict) else value for value in (a, b))
        field = f"data.{field}"
        if a != b:
            raise ConfigError(f"{given}: was trained with config.{field}={to_text(a)}, this config has {to_text(b)}")
    built = autoencoder.build_latent(own, inner)
    _, params = restore(given, workdir, None, own.evaluation.ema)
    found = json.loads((workdir / STATISTICS).read_text())
    params = jax.tree.map(jnp.asarray, params)
    return Latents(inner, built, params, np.array(found["mean"]), np.array(found["standard deviation"]))


DESCRIPTION = "precomputed.json"
"""The file of a finished folder with the path of the weights, their scale, and the fields of the data."""
ARRAYS = ("x", "label")
_FILES = [f"diffusion_pytorch_model{ending}" for ending in (".safetensors", ".bin")]
_FIELDS = ("name", "set", "image_size", "image_mode")


class Pretrained(NamedTuple):
    """A published autoencoder: the network with its parameters, the file that they are from, and the arguments of
    :func:`scorekit.io.formats.autoencoder_kl.convert`."""

    module: AutoencoderKL
    params: PyTree
    weights: Path
    options: dict[str, Any]


def open_autoencoder(path: Path, given: str, preset: str | None = None) -> Pretrained:
    """An ``AutoencoderKL`` in the layout of diffusers.

    Args:
      path: a file of weights, with ``config.json`` beside it or a preset; a folder of both; or a pipeline with such a
        folder named ``vae``.
      given: the beginning of an error.
      preset: preset of :class:`~scorekit.networks.AutoencoderKL`, whose scale replaces the config's.
    """
    folder = next((f for f in (path / "vae", path) if f.is_dir()), path.parent)
    weights = path if path.is_file() else next((folder / f for f in _FILES if (folder / f).is_file()), None)
    if weights is None:
        raise ConfigError(f"{given}: must be a file of weights, or a folder with one of {', '.join(_FILES)}")
    options: dict[str, Any] = {}
    try:
        if (folder / "config.json").is_file():
            fields = read_json(folder / "config.json")
            try:
                options = autoencoder_kl.attributes(fields)
            except ValueError as error:
                raise ValueError(f"config.json: {error}") from error
        if preset is not None:
            chosen = AutoencoderKL.preset(preset)
            options |= {"scaling_factor": chosen.scaling_factor, "shift_factor": chosen.shift_factor}
        if not options:
            raise ValueError("there is no config.json with the scale of the latents; name it by --preset")
        return _converted(weights, options)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise ConfigError(f"{given}: {error}") from error


def _converted(weights: Path, options: dict[str, Any]) -> Pretrained:
    module, params = autoencoder_kl.convert(Tensors(read_weights(weights).named, str(weights)), **options)
    return Pretrained(module, jax.tree.map(jnp.asarray, params), weights, options)


def write(folder: Path, config: Config, dataset: ImageSet, found: Pretrained, batch_size: int) -> None:
    """Encodes all training images, in their order, to ``x.npy`` and ``label.npy``; the description is written last."""
    given, total = f"config.data.path={config.data.path}", dataset.examples
    assert total is not None
    try:
        shape = found.module.latent_shape(dataset.shape)
        if dataset.shape[-1] != found.module.data_channels:
            raise ValueError(f"images must have {found.module.data_channels} channels, these have {dataset.shape[-1]}")
    except ValueError as error:
        raise ConfigError(f"{given}: {error}; see config.data.image_size and image_mode") from error
    encode = jax.jit(lambda x: found.module.apply(found.params, dataset.to_model(x), method="encode"))
    x = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float32, shape=(total, *shape))
    labels, start = np.zeros(total, np.int32), 0
    for part in dataset.in_order(64 * batch_size):
        rows = slice(start, start := start + len(part["x"]))
        x[rows], labels[rows] = in_blocks(encode, part["x"], min(batch_size, total)), part["label"]
        check_examples({"x": x[rows]}, given, "latents")
        print(f"{start:,} of {total:,} images", flush=True)
    x.flush()
    np.save(folder / "label.npy", labels)
    about = {"weights": str(found.weights), "options": found.options, "examples": total}
    about["data"] = {field: data.field_of(config, field) for field in _FIELDS}
    write_atomic(folder / DESCRIPTION, json.dumps(about, indent=2).encode())


def read_latents(folder: Path, config: Config, given: str, examples: int | None) -> tuple[Pretrained, Batch]:
    """The autoencoder, and latents and labels of all training images, which are read from disk as they are needed.

    Args:
      folder: the folder of :func:`write`.
      config: a config of the images that were encoded.
      given: beginning of errors.
      examples: number of training images.
    """
    try:
        about = parse_json(read_file(folder / DESCRIPTION), DESCRIPTION)
        theirs = {field: about["data"][field] for field in _FIELDS} | {"examples": about["examples"]}
        weights, options = Path(about["weights"]), about["options"]
        rows = {name: np.load(regular_file(folder / f"{name}.npy", folder), mmap_mode="r") for name in ARRAYS}
        if {len(each) for each in rows.values()} != {about["examples"]}:
            raise ValueError(f"it does not hold {about['examples']} examples")
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise ConfigError(f"{given}: is damaged: {error}; run experiments.tasks.latents.precompute again") from error
    ours = {field: data.field_of(config, field) for field in _FIELDS} | {"examples": examples}
    for field, value in ours.items():
        if value != theirs[field]:
            given_for = f"{given}: is of images with {field}={to_text(theirs[field])}"
            raise ConfigError(f"{given_for}, these have {to_text(value)}")
    if not weights.is_file():
        raise ConfigError(f"{given}: its autoencoder is no longer in {weights}; correct the path in {DESCRIPTION}")
    return _converted(weights, options), rows

"""Latents on disk: those of a published autoencoder, encoded once for all training of models of latents."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError, to_text
from experiments.data.dataset import Batch, check_examples, in_blocks
from experiments.data.images import Images
from scorekit.io import parse_json, read_file, read_json, regular_file, write_atomic
from scorekit.io.formats import autoencoder_kl
from scorekit.io.reading import read_weights
from scorekit.io.tensors import Tensors
from scorekit.networks import AutoencoderKL
from scorekit.typing import PyTree

DESCRIPTION = "precomputed.json"
"""The file of a finished folder with the path of the weights, their scale, and the fields of the data."""
ARRAYS = ("x", "label")
_FILES = [f"diffusion_pytorch_model{ending}" for ending in (".safetensors", ".bin")]
_FIELDS = ("name", "image_size", "image_mode")


class Pretrained(NamedTuple):
    """A published autoencoder.

    Attributes:
      module: the network.
      params: its parameters.
      weights: the file that they are from.
      options: arguments of :func:`scorekit.io.formats.autoencoder_kl.convert`.
    """

    module: AutoencoderKL
    params: PyTree
    weights: Path
    options: dict[str, Any]


def open_autoencoder(path: Path, given: str, preset: str | None = None) -> Pretrained:
    """An ``AutoencoderKL`` in the layout of diffusers.

    Args:
      path: a file of weights, with ``config.json`` beside it or a preset; a folder of both; or a pipeline with such a
        folder named ``vae``.
      given: what an error begins with.
      preset: of :class:`~scorekit.networks.AutoencoderKL`, whose scale the latents get in place of the config's.

    Raises:
      ConfigError: if there are no weights of this network, or nothing says the scale of its latents.
    """
    folder = next((f for f in (path / "vae", path) if f.is_dir()), path.parent)
    weights = path if path.is_file() else next((folder / f for f in _FILES if (folder / f).is_file()), None)
    if weights is None:
        raise ConfigError(f"{given}: must be a file of weights, or a folder with one of {', '.join(_FILES)}")
    options: dict[str, Any] = {}
    try:
        if (folder / "config.json").is_file():
            options = autoencoder_kl.attributes(read_json(folder / "config.json"))
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


def write(folder: Path, config: Config, dataset: Images, found: Pretrained, batch_size: int) -> None:
    """Encodes all training images, in their order, to ``x.npy`` and ``label.npy``; the description is written last.

    Raises:
      ConfigError: if the images do not fit the autoencoder, or a latent is not finite.
    """
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
    about["data"] = {field: config.data[field] for field in _FIELDS}
    write_atomic(folder / DESCRIPTION, json.dumps(about, indent=2).encode())


def read(folder: Path, config: Config, given: str, examples: int | None) -> tuple[Pretrained, Batch]:
    """The autoencoder, and latents and labels of all training images, which are read from disk as they are needed.

    Args:
      folder: that of :func:`write`.
      config: whose images must be those that were encoded.
      given: what an error begins with.
      examples: number of training images.

    Raises:
      ConfigError: if the images differ, a file is damaged, or the weights are no longer where they were.
    """
    try:
        about = parse_json(read_file(folder / DESCRIPTION), DESCRIPTION)
        theirs = {field: about["data"][field] for field in _FIELDS} | {"examples": about["examples"]}
        weights, options = Path(about["weights"]), about["options"]
        rows = {name: np.load(regular_file(folder / f"{name}.npy", folder), mmap_mode="r") for name in ARRAYS}
        if {len(each) for each in rows.values()} != {about["examples"]}:
            raise ValueError(f"it does not hold {about['examples']} examples")
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise ConfigError(f"{given}: is damaged: {error}; run experiments.latents.precompute again") from error
    ours = {field: config.data[field] for field in _FIELDS} | {"examples": examples}
    for field, value in ours.items():
        if value != theirs[field]:
            given_for = f"{given}: is of images with {field}={to_text(theirs[field])}"
            raise ConfigError(f"{given_for}, these have {to_text(value)}")
    if not weights.is_file():
        raise ConfigError(f"{given}: its autoencoder is no longer in {weights}; correct the path in {DESCRIPTION}")
    return _converted(weights, options), rows

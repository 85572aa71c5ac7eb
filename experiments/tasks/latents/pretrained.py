"""Published autoencoders (diffusers' AutoencoderKL), and the latents of images that were encoded by one before."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.config import Config, ConfigError, to_text
from experiments.data.dataset import Batch
from scorekit.io import parse_json, read_file, read_json, regular_file
from scorekit.io.formats import autoencoder_kl
from scorekit.io.reading import read_weights
from scorekit.io.tensors import Tensors
from scorekit.networks import AutoencoderKL
from scorekit.typing import PyTree

DESCRIPTION = "precomputed.json"
"""The file of a finished folder with the path of the weights, their scale, and the fields of the data."""
_FILES = [f"diffusion_pytorch_model{ending}" for ending in (".safetensors", ".bin")]
FIELDS = ("name", "set", "image_size", "image_mode")


class Pretrained(NamedTuple):
    """A published autoencoder: the network with its parameters, the file that they are from, and the arguments of
    :func:`scorekit.io.formats.autoencoder_kl.convert`."""

    module: AutoencoderKL
    params: PyTree
    weights: Path
    options: dict[str, Any]


def open_autoencoder(path: Path, given: str) -> Pretrained:
    """An ``AutoencoderKL`` in the layout of diffusers: the folder of its weights and ``config.json``, or of a pipeline
    with such a folder named ``vae``; errors begin with ``given``."""
    folder = path / "vae" if (path / "vae").is_dir() else path
    weights = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if weights is None or not (folder / "config.json").is_file():
        raise ConfigError(f"{given}: must be a folder with config.json and one of {', '.join(_FILES)}")
    try:
        fields = read_json(folder / "config.json")
        try:
            options = autoencoder_kl.attributes(fields)
        except ValueError as error:
            raise ValueError(f"config.json: {error}") from error
        return _converted(weights, options)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise ConfigError(f"{given}: {error}") from error


def _converted(weights: Path, options: dict[str, Any]) -> Pretrained:
    module, params = autoencoder_kl.convert(Tensors(read_weights(weights).named, str(weights)), **options)
    return Pretrained(module, jax.tree.map(jnp.asarray, params), weights, options)


def read_latents(folder: Path, config: Config, given: str, examples: int | None) -> tuple[Pretrained, Batch]:
    """The autoencoder, and latents and labels of all training images, which are read from disk as they are needed.

    Args:
      folder: a folder that ``experiments.tasks.latents.precompute`` wrote.
      config: a config of the images that were encoded.
      given: beginning of errors.
      examples: number of training images.
    """
    try:
        about = parse_json(read_file(folder / DESCRIPTION), DESCRIPTION)
        theirs = {field: about["data"][field] for field in FIELDS} | {"examples": about["examples"]}
        weights, options = Path(about["weights"]), about["options"]
        rows = {name: np.load(regular_file(folder / f"{name}.npy"), mmap_mode="r") for name in ("x", "label")}
        if {len(each) for each in rows.values()} != {about["examples"]}:
            raise ValueError(f"it does not hold {about['examples']} examples")
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise ConfigError(f"{given}: is damaged: {error}; run experiments.tasks.latents.precompute again") from error
    ours = {field: data.field_of(config, field) for field in FIELDS} | {"examples": examples}
    for field, value in ours.items():
        if value != theirs[field]:
            given_for = f"{given}: is of images with {field}={to_text(theirs[field])}"
            raise ConfigError(f"{given_for}, these have {to_text(value)}")
    if not weights.is_file():
        raise ConfigError(f"{given}: its autoencoder is no longer in {weights}; correct the path in {DESCRIPTION}")
    return _converted(weights, options), rows

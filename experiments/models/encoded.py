"""Data that a trained network has encoded once: latents that ``experiments.latents.precompute`` wrote, and embeddings
of pictures, which are kept alongside the checkpoints of their encoder.
"""

import contextlib
import hashlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.config import Config, ConfigError, to_text
from experiments.data.dataset import Batch, Dataset, check_examples, in_blocks
from experiments.data.embeddings import EMBEDDING, Embeddings, are_examples, scaled
from experiments.data.images import Images
from experiments.models import run_files
from experiments.models.contrastive import Encoder, open_encoder
from scorekit.io import as_path, parse_json, read_file, read_json, regular_file, write_atomic
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


def read_latents(folder: Path, config: Config, given: str, examples: int | None) -> tuple[Pretrained, Batch]:
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


def has_embeddings(config: Config) -> bool:
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
    run_files.check_same_data(encoder.config, config, given, "this config" if workdir is None else str(workdir))
    return encoder


def with_embeddings(config: Config, workdir: Path | None = None) -> Dataset:
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

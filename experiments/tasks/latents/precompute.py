"""Encodes a folder of images once, by a published autoencoder (diffusers' AutoencoderKL), for models of its latents.

    python -m experiments.tasks.latents.precompute --weights=weights/sd-vae-ft-mse --data=~/pictures \
        --out=runs/latents \
        --config.data.image_size=256
    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/own \
        --config.data.name=folder --config.data.path=~/pictures --config.data.image_size=256 \
        --config.data.image_mode=RGB --config.latents=runs/latents

``out`` then holds ``x.npy`` and ``label.npy``, the scaled means of all training images in their order, which training
reads from disk as it needs them, and ``precomputed.json``. The images stay where they are: metrics compare samples with
them. ``--config.data.…`` are the fields of training, with ``image_mode=RGB`` as default.
"""

import json
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments import data
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.fields import Section
from experiments.data.dataset import in_blocks
from experiments.data.finite import check_examples
from experiments.data.images import ImageSet
from experiments.tasks.latents import pretrained
from experiments.tasks.latents.pretrained import Pretrained
from scorekit.io import write_atomic

_WEIGHTS = flags.DEFINE_string(
    "weights", None, "Folder of the weights of an AutoencoderKL, or of a pipeline with one.", required=True
)
_DATA = flags.DEFINE_string("data", None, "Folder of images.", required=True)
_OUT = shared.out("Folder for the latents.", required=True)
_BATCH = shared.count("batch", 8, "Images that are encoded at once.")


def get_config() -> Config:
    """The fields of the data, with a folder of images in colour as default."""
    config = Section(data=data.KINDS.but("folder")).defaults()
    config.data.update(path=_DATA.value, image_mode="RGB")
    return config


def check_fields(config: Config) -> None:
    """Validates that a config has these fields, within their bounds, and is one of images."""
    Section(data=data.KINDS.but("folder")).check(config)
    kinds = ("folder", "tar", "tfds")
    require(config.data.name in kinds, "data.name", config.data.name, f"one of {', '.join(kinds)}")
    require((config.data.on_error or "raise") == "raise", "data.on_error", "skip", "raise: every image has a latent")


def main(config: Config) -> Path:
    weights, given = shared.path(_WEIGHTS), f"--weights={_WEIGHTS.value}"
    if not Path(str(_DATA.value)).expanduser().exists():
        raise ConfigError(f"--data={_DATA.value}: there is nothing here")
    out = shared.results_folder(_OUT, names=("x.npy", "label.npy", pretrained.DESCRIPTION))
    found = pretrained.open_autoencoder(weights, given)
    dataset = data.build(config)
    assert isinstance(dataset, ImageSet)
    print(f"encoding {dataset.name}, {dataset.examples:,} images …", flush=True)
    write(out, config, dataset, found, _BATCH.value)
    return out


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
    about["data"] = {field: data.field_of(config, field) for field in pretrained.FIELDS}
    write_atomic(folder / pretrained.DESCRIPTION, json.dumps(about, indent=2).encode())


if __name__ == "__main__":
    command_line.run(main, get_config, check_fields)

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

from pathlib import Path

from absl import flags

from experiments import data
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.fields import Section
from experiments.data.images import ImageSet
from experiments.tasks.latents import latent_data
from scorekit.networks.autoencoder_kl import PRESETS

_WEIGHTS = flags.DEFINE_string("weights", None, "Folder, or file of weights, of an AutoencoderKL.", required=True)
_DATA = flags.DEFINE_string("data", None, "Folder of images.", required=True)
_OUT = shared.out("Folder for the latents.", required=True)
_PRESET = flags.DEFINE_enum("preset", None, list(PRESETS), "Scale of the latents, where no config.json gives it.")
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
    if not weights.exists():
        raise ConfigError(f"{given}: there is nothing here")
    out = shared.results_folder(_OUT, names=("x.npy", "label.npy", latent_data.DESCRIPTION))
    found = latent_data.open_autoencoder(weights, given, _PRESET.value)
    dataset = data.build(config)
    assert isinstance(dataset, ImageSet)
    print(f"encoding {dataset.name}, {dataset.examples:,} images …", flush=True)
    latent_data.write(out, config, dataset, found, _BATCH.value)
    return out


if __name__ == "__main__":
    command_line.run(main, get_config, check_fields)

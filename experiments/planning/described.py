"""Data sets by their shapes alone, where a config names images that this machine need not have, or their latents."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments import data, tasks
from experiments.cli.config import Config, ConfigError
from experiments.data.builders.captioned import CaptionedSet
from experiments.data.captioned import CaptionedPictures, Pictures
from experiments.data.dataset import Dataset
from experiments.data.images import Images
from experiments.data.transforms import Resized
from scorekit.io import as_path
from scorekit.networks import AutoencoderKL

SETS = {
    "sklearn_digits": ((8, 8, 1), 10),
    "mnist": ((28, 28, 1), 10),
    "fashion_mnist": ((28, 28, 1), 10),
    "cifar10": ((32, 32, 3), 10),
    "cifar100": ((32, 32, 3), 100),
    "svhn_cropped": ((32, 32, 3), 10),
}
"""Shape and classes of sets of TFDS."""
CLASSES = 1000
"""Classes of a folder of pictures, where nothing else is said: those of ImageNet."""
TASKS = ("diffusion", "classifier", "autoencoder", "dual_encoder")
"""The tasks that receive images as they are, or their latents."""
_ROWS = 8


class _Zeros:
    """A source of black pictures, like the source of a set of TFDS."""

    bins, classes = 256, ()

    def __init__(self, name: str, shape: tuple[int, ...], num_classes: int):
        self.name, self.shape, self.num_classes = name, shape, num_classes

    def __len__(self) -> int:
        return _ROWS

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [{"x": np.zeros(self.shape, np.uint8), "label": np.int32(row % self.num_classes)} for row in rows]


class _Black(Images):
    """Black pictures."""

    def __init__(self, config: Config, source: Any):
        self.fill_from(config, source.name, source.bins, *[Resized(source, None)] * 2)


class _BlackCaptioned(CaptionedPictures):
    """Black captioned pictures."""

    def open(self, options, split):
        x = np.zeros((_ROWS, options.image_size, options.image_size, 3), np.uint8)
        words, zeros = [f"a picture of thing {i}" for i in range(_ROWS)], np.zeros(_ROWS, np.int32)
        captions = tuple((text, text) for text in words)
        found = CaptionedSet(
            x=x, captions=captions, names=tuple(words), style=zeros, styles=("noto",), label=zeros, classes=("things",)
        )
        return Pictures(found, options.label or "none")


class _Latents(Images):
    """Latents of zeros; samples of them are latents, since their decoder is no network that is trained."""

    def __init__(self, name: str, shape: tuple[int, ...], num_classes: int):
        part = {"x": np.zeros((_ROWS, *shape), np.float32), "label": np.arange(_ROWS, dtype=np.int32) % num_classes}
        self.fill(name, num_classes, 256, part, part)

    def to_model(self, x):
        return jnp.asarray(x)

    def from_model(self, x, conditions=None):
        return x


def describe(config: Config, shape: tuple[int, ...] | None = None, classes: int | None = None) -> tuple[Dataset, str]:
    """The data of a config by their shape alone, and a line about them; data that are no images are loaded.

    Args:
      shape: shape of an image or its latents; None for the shape that the config says.
      classes: number of classes; None likewise.

    Raises:
      ConfigError: if neither says the shape.
    """
    kind, options = data.kind_of(config), config.data
    as_images = issubclass(kind, Images) and config.task in TASKS
    if not as_images or ("embeddings" in options and options.embeddings.encoder is not None):
        _check_loaded(options.name, shape, classes)
        dataset = tasks.of(config).load(config)
        return dataset, dataset.summary()
    if issubclass(kind, CaptionedPictures):
        _check_loaded(options.name, shape, classes)
        found: Dataset = _BlackCaptioned(config)
        return found, f"{options.name} of {found.described()} (described, not loaded)"
    if shape is not None and len(shape) != 3:
        given = ",".join(map(str, shape))
        raise ConfigError(f"--shape={given}: must be height, width and channels, such as 32,32,4")
    shape, count = shape or _shape_of(config), classes or SETS.get(options.name, (None, CLASSES))[1]
    name = f"latents of {options.name}" if options.get("latents") else options.name
    made = _Latents(name, shape, count) if options.get("latents") else _Black(config, _Zeros(name, shape, count))
    return made, f"{name}: {made.described()}, {made.num_classes:,} classes (described, not loaded)"


def _check_loaded(name: str, shape: tuple[int, ...] | None, classes: int | None) -> None:
    if shape is not None or classes is not None:
        flag = "shape" if shape is not None else "classes"
        raise ConfigError(f"--{flag}: must be left out for config.data.name={name}, whose data determine it")


def _shape_of(config: Config) -> tuple[int, ...]:
    options = config.data
    if options.get("latents") and (as_path(options.latents) / "config.json").exists():
        return tasks.of(config).load(config).shape
    known = SETS.get(options.name)
    side = options.image_size or (known[0][0] if known else None)
    if side is None:
        raise ConfigError(
            f"config.data.name={options.name}: needs --shape=H,W,C for a plan without data, or config.data.image_size"
        )
    shape = (side, side, known[0][2] if known else {"L": 1}.get(options.image_mode, 3))
    return AutoencoderKL.preset("sd-vae-ft").latent_shape(shape) if options.get("latents") else shape

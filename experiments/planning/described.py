"""Data sets by their shapes alone, where a config names images that this machine need not have, or their latents."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments import data, tasks
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Dataset
from experiments.data.images import ImageSet
from experiments.data.sources import Arrays
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
"""Shape and classes of sets of TFDS; a folder of images has 1,000 classes, as ImageNet."""
KINDS = ("folder", "tar", "tfds")
"""The kinds of data that are described."""
TASKS = ("diffusion", "classifier", "autoencoder", "dual_encoder")
"""The tasks that receive images as they are, or their latents."""


class _Described(ImageSet):
    """Black images, or latents of zeros, which no decoder turns into images."""

    def __init__(self, config: Config, shape: tuple[int, ...], num_classes: int, examples: int = 8):
        self._examples = examples
        self._latents = bool(config.get("latents"))
        name = config.data.get("set") or config.data.name
        x = np.zeros((8, *shape), np.float32 if self._latents else np.uint8)
        self._source = Arrays(name, 256, x, np.arange(8) % num_classes, num_classes)
        fields = ("label", "image_crop", "augment")
        super().__init__(**{name: config.data[name] for name in fields if config.data.get(name) is not None})

    def open(self):
        return self._source, self._source

    @property
    def examples(self) -> int:
        """The number of training images."""
        return self._examples

    def to_model(self, x):
        return jnp.asarray(x) if self._latents else super().to_model(x)

    def from_model(self, x, conditions=None):
        return x if self._latents else super().from_model(x, conditions)


def describe(config: Config) -> Dataset:
    """The data of a config by their shape alone; data that are no images, captions and embeddings are loaded.

    Where training is chosen for the images they are loaded too. Latents that are not encoded yet have the shape that
    the autoencoder of Stable Diffusion gives them.
    """
    options, task, given, latents = config.data, tasks.of(config), config.get("conditions"), config.get("latents")
    embedded = given is not None and "embeddings" in given and given.embeddings.encoder is not None
    unset = config.training.steps is None  # chosen for their number
    has = lambda name: bool(latents) and (as_path(latents) / name).exists()
    loaded = unset and (not latents or has("config.json") or has("precomputed.json"))
    if options.name not in KINDS or config.task not in TASKS or embedded or loaded:
        return task.load(config)
    shape, num_classes = SETS.get(options.get("set") or "", (None, 1000))
    if options.name == "tfds" and options.set is None:
        shape, num_classes = SETS["sklearn_digits"]
    if has("config.json"):
        return _Described(config, task.load(config).shape, num_classes)
    side = options.image_size or (shape and shape[0])
    if side is None:
        raise ConfigError(f"config.data.name={options.name}: needs config.data.image_size for a plan without data")
    shape = (side, side, shape[2] if shape else {"L": 1}.get(options.get("image_mode"), 3))
    if latents:
        shape = AutoencoderKL.preset("sd-vae-ft").latent_shape(shape)
    images: Any = data.build(config) if unset else None
    return _Described(config, shape, *((images.num_classes, images.examples) if unset else (num_classes,)))

"""Data sets by their shapes alone, where a config names images that this machine need not have, or their latents."""

import jax.numpy as jnp
import numpy as np

from experiments import tasks
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

    def __init__(self, config: Config, shape: tuple[int, ...], num_classes: int):
        self._latents = bool(config.get("latents"))
        name = config.data.get("set") or config.data.name
        x = np.zeros((8, *shape), np.float32 if self._latents else np.uint8)
        self._source = Arrays(name, 256, x, np.arange(8) % num_classes, num_classes)
        fields = ("label", "image_crop", "augment")
        super().__init__(**{name: config.data[name] for name in fields if config.data.get(name) is not None})

    def open(self):
        return self._source, self._source

    def to_model(self, x):
        return jnp.asarray(x) if self._latents else super().to_model(x)

    def from_model(self, x, conditions=None):
        return x if self._latents else super().from_model(x, conditions)


def describe(config: Config) -> Dataset:
    """The data of a config by their shape alone; data that are no images, captions and embeddings are loaded."""
    options, task, given = config.data, tasks.of(config), config.get("conditions")
    embedded = given is not None and "embeddings" in given and given.embeddings.encoder is not None
    unset = config.training.steps is None  # chosen for their number
    if options.name not in KINDS or config.task not in TASKS or embedded or unset:
        return task.load(config)
    shape, num_classes = SETS.get(options.get("set") or "", (None, 1000))
    if options.name == "tfds" and options.set is None:
        shape, num_classes = SETS["sklearn_digits"]
    if config.get("latents") and (as_path(config.latents) / "config.json").exists():
        return _Described(config, task.load(config).shape, num_classes)
    side = options.image_size or (shape and shape[0])
    if side is None:
        raise ConfigError(f"config.data.name={options.name}: needs config.data.image_size for a plan without data")
    shape = (side, side, shape[2] if shape else {"L": 1}.get(options.get("image_mode"), 3))
    latent = AutoencoderKL.preset("sd-vae-ft").latent_shape(shape) if config.get("latents") else shape
    return _Described(config, latent, num_classes)

"""Images resized by averaging, cropped to random squares, and augmented (``config.data.augment``).

What is random is a function of the seed and step, and of the row of the global batch, however that is divided.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import require
from experiments.data.captions import draws
from experiments.data.dataset import Batch
from scorekit import data
from scorekit.data import EDM_LABELS
from scorekit.typing import Array, Key

AUGMENTATION = "augmentation"
"""The field of a batch with the labels ``(B, 9)`` of EDM's augmentation, and the vector made of it."""


def edm(key: Key, x: Array, bins: int) -> dict[str, Array]:
    """EDM's geometric transformations, rounded to the values of the data, with their labels."""
    y, labels = data.edm_augment(key, data.to_unit(x, bins))
    return {"x": data.from_unit(y, bins).astype(x.dtype), AUGMENTATION: labels}


AUGMENTATIONS: Mapping[str, Callable[[Key, Array, int], dict[str, Array]]] = {
    "flip": lambda key, x, bins: {"x": data.random_flip(key, x)},
    "crop": lambda key, x, bins: {"x": data.random_crop(key, x, min(x.shape[1:3]) // 8)},
    "edm": edm,
}
"""Flipped from left to right, half of the time; translated by up to an eighth of the shorter side, the image mirrored
beyond its edges; transformed as in EDM. The arguments are a key, images ``(B, H, W, C)`` and the number of values."""


class Labels:
    """A vector: what ``config.data.augment=edm`` did to each example, ``(B, 9)``, zero for examples as they are.

    Of these the vector is absent, so that the network's null token means an image as it is: whatever is sampled without
    the vector, the null branch of guidance among it, is free of augmentation. The vector is never dropped.
    """

    def __call__(self, batch: Mapping[str, Any]) -> Array:
        return jnp.asarray(batch.get(AUGMENTATION, jnp.zeros((batch["x"].shape[0], EDM_LABELS))))

    def present(self, batch: Mapping[str, Any]) -> Array:
        """``(B,)``: which examples were changed."""
        return jnp.any(self(batch) != 0.0, axis=1)


def augmented(name: str | None, batch: Batch, bins: int, *, seed: int, step: int, first_row: int) -> Batch:
    """A batch whose images are augmented, on the host: the rows of the global batch from ``first_row`` on.

    Args:
      name: name of an augmentation; None for the batch as it is.
      batch: these rows.
      bins: number of values of ``x``.
      seed, step: seed and step of the run.
      first_row: index of the first of these rows; each row has a key of its own.
    """
    if name is None:
        return batch
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        key = jax.random.fold_in(jax.random.key(seed), step)
        rows = np.arange(first_row, first_row + len(batch["x"]), dtype=np.uint32)
        changed = _augment(name, bins, key, rows, batch["x"])
    return {**batch, **{field: np.asarray(value) for field, value in changed.items()}}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _augment(name: str, bins: int, key: Key, rows: Array, x: Array) -> dict[str, Array]:
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(rows)
    one = lambda key, x: {k: v[0] for k, v in AUGMENTATIONS[name](key, x[None], bins).items()}
    return jax.vmap(one)(keys, x)


class Resized:
    """A source of images of this height and width, in which each value is the mean of a square, rounded."""

    def __init__(self, source: Any, size: int | None):
        side, width, channels = source.shape
        fits = size is None or (side == width and side % size == 0)
        require(fits, "data.image_size", size, f"a divisor of the side of square images, {side} x {width} here")
        self._source, self._factor = source, 1 if size is None else side // size
        self.shape = (side // self._factor, width // self._factor, channels)
        self.name, self.bins, self.num_classes = source.name, source.bins, source.num_classes
        self.classes: tuple[str, ...] = source.classes

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Mapping[str, Any]]:
        examples = self._source.__getitems__(list(indices))
        if self._factor == 1:
            return examples
        return [{**example, "x": pooled(example["x"], self._factor)} for example in examples]


def pooled(x: np.ndarray, factor: int) -> np.ndarray:
    """The means over squares of ``factor`` values a side, rounded.

    >>> pooled(np.array([[[0], [2]], [[4], [7]]], np.uint8), 2)
    array([[[3]]], dtype=uint8)
    """
    height, width, channels = x.shape
    split = x.reshape(height // factor, factor, width // factor, factor, channels)
    return split.mean((1, 3)).round().astype(x.dtype)


def centred(part: Batch, crop: int | None) -> Batch:
    """A set with the middle square of each image."""
    if crop is None:
        return part
    top, left = ((side - crop) // 2 for side in part["x"].shape[1:3])
    return {**part, "x": part["x"][:, top : top + crop, left : left + crop]}


def cropped(batch: Batch, crop: int | None, *, seed: int, step: int, first_row: int) -> Batch:
    """A batch with a random square of each image, a function of seed, step and row of the global batch."""
    if crop is None:
        return batch
    x = batch["x"]
    tops, lefts = (draws(seed, step, first_row, len(x), 1 + i, x.shape[1 + i] - crop + 1) for i in range(2))
    squares = [one[i : i + crop, j : j + crop] for one, i, j in zip(x, tops, lefts, strict=True)]
    return {**batch, "x": np.stack(squares)}

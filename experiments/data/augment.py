"""The field ``config.data.augment``: batches of images changed at random, as a pure function of the seed and step."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Batch
from scorekit import data
from scorekit.data import EDM_LABELS
from scorekit.typing import Array, Key

AUGMENTATION = "augmentation"
"""The field of a batch with the labels ``(B, 9)`` of EDM's augmentation, and the vector made of it."""


def flip(key: Key, x: Array, bins: int) -> dict[str, Array]:
    """From left to right, half of the time."""
    del bins
    return {"x": data.random_flip(key, x)}


def crop(key: Key, x: Array, bins: int) -> dict[str, Array]:
    """Translated by up to an eighth of the shorter side, the image mirrored beyond its edges."""
    del bins
    return {"x": data.random_crop(key, x, min(x.shape[1:3]) // 8)}


def edm(key: Key, x: Array, bins: int) -> dict[str, Array]:
    """EDM's geometric transformations, rounded to the values of the data, with their labels."""
    y, labels = data.edm_augment(key, data.to_unit(x, bins))
    return {"x": data.from_unit(y, bins).astype(x.dtype), AUGMENTATION: labels}


AUGMENTATIONS: Mapping[str, Callable[[Key, Array, int], dict[str, Array]]] = {"flip": flip, "crop": crop, "edm": edm}


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
    """A batch whose images are augmented, on the host.

    Row ``i`` of the global batch has a key of its own, so that the result does not depend on how it is divided.

    Args:
      name: of an augmentation; None for the batch as it is.
      batch: the rows of the global batch of this step that are read here.
      bins: number of values of ``x``.
      seed: of the run.
      step: of the run.
      first_row: the first of these rows.
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

"""Sets of images for out-of-distribution detection, of the resolution and grey values of the model's own data."""

from collections.abc import Callable, Sequence

import numpy as np

from experiments.cli.config import ConfigError
from experiments.data.builders import register
from experiments.data.dataset import Dataset
from scorekit import data

CALIBRATION, OWN = "calibration", "in distribution"
"""Names of the two halves of the held-out in-distribution images."""
NEAR: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda images: images[:, :, ::-1],
    "shifted": lambda images: np.roll(images, 1, axis=2),
}
"""Held-out in-distribution images with a small change: the same pixel statistics, another distribution."""


def gather(dataset: Dataset, near: Sequence[str], far: Sequence[str], most: int, seed: int) -> dict[str, np.ndarray]:
    """At most ``most`` images of every set, uint8. The first two are halves of the held-out images of ``dataset``."""
    held_out = dataset.test["x"][np.random.default_rng(seed).permutation(len(dataset.test["x"]))]
    half = min(len(held_out) // 2, most)
    sets = {CALIBRATION: held_out[:half], OWN: held_out[half : 2 * half]}
    sets |= {f"{name} (near)": NEAR[name](sets[OWN]) for name in near}
    assert dataset.bins is not None
    return sets | {name: load_images(name, dataset.shape, dataset.bins)[:most] for name in far}


def load_images(name: str, shape: Sequence[int], bins: int) -> np.ndarray:
    """The test images of a set by its TFDS name, or ``photos``, uint8 of this shape and number of grey values."""
    if name == "photos":
        images, before = photo_patches(shape[0]), 256
    else:
        register(name)
        try:
            loaded = data.load(name, "test")
        except ValueError as error:
            raise ConfigError(f"--far={name}: {error}") from error
        images, before = loaded.x, loaded.bins
    side = shape[0]
    if images.shape[1] != images.shape[2] or images.shape[1] < side or images.shape[3:] != tuple(shape[2:]):
        raise ConfigError(
            f"--far={name}: must be square images of at least {side} x {side} pixels and {shape[2]} channels, these "
            f"are {images.shape[1:]}"
        )
    return requantise(resize(images, side), before, bins)


def photo_patches(side: int, scale: int = 4) -> np.ndarray:
    """Grey patches of scikit-learn's two photographs, reduced ``scale`` times; uint8 ``(N, side, side, 1)``."""
    from sklearn.datasets import load_sample_images

    patches = []
    for photo in load_sample_images().images:
        grey = np.asarray(photo, float).mean(axis=-1)
        small = grey[: grey.shape[0] // scale * scale, : grey.shape[1] // scale * scale]
        small = small.reshape(grey.shape[0] // scale, scale, grey.shape[1] // scale, scale).mean(axis=(1, 3))
        rows, columns = (n // side for n in small.shape)
        cells = small[: rows * side, : columns * side].reshape(rows, side, columns, side)
        patches.append(cells.transpose(0, 2, 1, 3).reshape(-1, side, side, 1))
    images = np.round(np.concatenate(patches)).astype(np.uint8)
    return images[np.random.default_rng(0).permutation(len(images))]


def resize(images: np.ndarray, side: int) -> np.ndarray:
    """Square images at a lower resolution by the mean over areas, as floats.

    >>> resize(np.arange(16.0).reshape(1, 4, 4, 1), 2).ravel()
    array([ 2.5,  4.5, 10.5, 12.5])
    """
    before = images.shape[1]
    edges = np.linspace(0, before, side + 1)
    pixel = np.arange(before)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.clip(overlap, 0, None) * side / before
    return np.einsum("ai,bj,nijc->nabc", weights, weights, images.astype(float))


def requantise(images: np.ndarray, bins_before: int, bins: int) -> np.ndarray:
    """Grey values ``0..bins_before-1`` rounded to ``0..bins-1``, uint8."""
    return np.round(images * ((bins - 1) / (bins_before - 1))).astype(np.uint8)

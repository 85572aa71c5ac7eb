"""Results where a flag says: what is there is replaced with --overwrite only, a run and its checkpoints never."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli.config import ConfigError
from scorekit.io import write_atomic

OF_RUNS = (
    "accuracy.png", "evaluation.json", "guidance.png", "loss_by_noise_level.png", "maps.png", "metrics.jsonl",
    "report.html", "samples.png", "training.png", "trajectory.png",
)  # fmt: skip
"""What programs that train write into the folder of a run, after one of :data:`SIGNS`."""
SIGNS = ("config.json", "checkpoints", "distillation.json")


def check_files(given: str, paths: Iterable[Path], replace: bool, usual: bool = False) -> None:
    """Validates that files may be written.

    Args:
      given: the flag with its value, which an error begins with.
      paths: the files.
      replace: whether files that exist may be replaced.
      usual: whether these are files of the program's own place, in a run or the repository, which it may write.
    """
    for path in paths:
        if path.is_dir():
            raise ConfigError(f"{given}: must be the path of a file, {path} is a folder")
        if usual:
            continue
        _check_place(path, given)
        if path.exists():
            if _is_run(path.parent) and path.name in (*SIGNS, *OF_RUNS):
                raise ConfigError(f"{given}: {path} is of a run, which alone writes it; use another path")
            _check_replace(path, given, replace)


def check_folder(given: str, folder: Path, replace: bool) -> None:
    """Validates that a folder of results is no run, and is new or empty, or may be written into.

    ``given`` as for :func:`check_files`; ``replace`` says whether earlier results may be replaced or continued.
    """
    _check_place(folder / "results", given)
    if _is_run(folder):
        raise ConfigError(f"{given}: there is a run in this folder, which is kept; use another folder")
    if folder.is_dir() and any(folder.iterdir()):
        _check_replace(folder, given, replace)


def check_run(given: str, folder: Path) -> None:
    """Validates that training may write into a folder: it holds a run, whose config is compared, or no such file."""
    _check_place(folder / SIGNS[0], given)
    if not any((folder / name).exists() for name in SIGNS):
        for path in (folder / name for name in OF_RUNS):
            if path.exists():
                raise ConfigError(f"{given}: {path} is of no run and is kept; use another folder")


def encodable(text: str) -> str:
    r"""The text with lone surrogates, as of file names that are not UTF-8, spelled out; JSON reads them back.

    >>> print(encodable("caf\udce9"))
    caf\udce9
    """
    return text.encode(errors="backslashreplace").decode()


def same_place(a: Path, b: Path) -> bool:
    """Whether two paths are of one folder, links followed."""
    return _resolved(a) == _resolved(b)


def _resolved(path: Path) -> Path:
    from scorekit.io import in_bucket  # late: a command line is parsed without jax

    return path if in_bucket(path) else path.resolve()


def _is_run(folder: Path) -> bool:
    return all((folder / name).exists() for name in SIGNS[:2])


def _check_place(path: Path, given: str) -> None:
    """Raises an error inside the folders of a run that training reads."""
    for folder in _resolved(path).parents:
        if folder.name in ("checkpoints", "snapshots") and (folder.parent / SIGNS[0]).exists():
            raise ConfigError(f"{given}: {folder} is of a run, which alone writes into it; use another path")


def _check_replace(path: Path, given: str, replace: bool) -> None:
    if not replace:
        raise ConfigError(f"{given}: {path} exists; replace it with --overwrite, or use another path")


def write_results(path: str | Path, values: Any) -> Path:
    """Writes metrics as JSON, atomically."""
    return write_atomic(path, encodable(json.dumps(values, indent=2, ensure_ascii=False)) + "\n")


def write_arrays(path: str | Path, **arrays: Any) -> Path:
    """Writes arrays as ``.npz``, atomically."""
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    return write_atomic(path, archive.getvalue())

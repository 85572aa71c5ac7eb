"""Results where a flag says: nothing that the program did not write is written over, the rest only with --overwrite.

What a program has written to the path of a flag is noted, with its digest, in :data:`RECORD` of the same folder. A file
that is not there, or was changed, is of somebody else; so is a run, and the folder of its checkpoints.
"""

import atexit
import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.cli import interrupts
from experiments.cli.config import ConfigError

RECORD = ".scorekit_outputs"
"""JSON: names of files with their digests, and under "." what the folder is for, if all of it is of one program."""
OF_RUNS = (
    "accuracy.png", "ascent.png", "batches.png", "evaluation.json", "extremes.png", "guidance.png", "histograms.png",
    "loss_by_noise_level.png", "maps.png", "metrics.jsonl", "ood.html", "ood.json", "report.html", "samples.png",
    "training.png", "trajectory.png",
)  # fmt: skip
"""What programs that train write into the folder of a run, after one of :data:`SIGNS`."""
SIGNS = ("config.json", "checkpoints", "distillation.json")

_paths: list[Path] = []


def check_files(given: str, paths: Iterable[Path], replace: bool, usual: bool = False) -> None:
    """Validates that files may be written, and notes those that have been written when the program ends.

    Args:
      given: the flag with its value, which an error begins with.
      replace: whether files that a program has written here before may be replaced.
      usual: whether these are files of the program's own place, in a run or the repository, which it may write.
    """
    paths = list(paths)
    for path in paths:
        if path.is_dir():
            raise ConfigError(f"{given}: must be the path of a file, {path} is a folder")
        if usual:
            continue
        _check_place(path, given)
        if not path.exists():
            continue
        if _recorded(path.parent).get(path.name) != _digest(path):
            raise ConfigError(f"{given}: {path} was not written by this flag and is kept; use another path")
        _check_replace(path, given, replace)
    if not usual:
        _paths.extend(paths)


def check_folder(given: str, folder: Path, kind: str, replace: bool) -> None:
    """Validates that a folder is new, empty, or of this kind of results, and notes that it is from now on.

    ``given`` as for :func:`check_files`; ``replace`` says whether earlier results may be replaced or continued.
    """
    _check_place(folder / RECORD, given)
    if all((folder / name).exists() for name in SIGNS[:2]):
        raise ConfigError(f"{given}: there is a run in this folder, which is kept; use another folder")
    recorded = _recorded(folder)
    if folder.is_dir() and any(path.name != RECORD for path in folder.iterdir()):
        if recorded.get(".") != kind:
            raise ConfigError(f"{given}: must be a new or empty folder, the files in this one are no {kind}")
        _check_replace(folder, given, replace)
    _record(folder, {".": kind})


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


def _check_place(path: Path, given: str) -> None:
    """Raises an error inside the folders of a run that training reads."""
    for folder in _resolved(path).parents:
        if folder.name in ("checkpoints", "snapshots") and (folder.parent / SIGNS[0]).exists():
            raise ConfigError(f"{given}: {folder} is of a run, which alone writes into it; use another path")


def _check_replace(path: Path, given: str, replace: bool) -> None:
    if not replace:
        raise ConfigError(f"{given}: {path} exists; replace it with --overwrite, or use another path")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _record(folder: Path, entries: dict[str, Any]) -> None:
    from scorekit.io import write_atomic  # late: a command line is parsed without jax

    write_atomic(folder / RECORD, json.dumps({**_recorded(folder), **entries}) + "\n")


@atexit.register
def record() -> None:
    """Notes the files of :func:`check_files` that are there."""
    while _paths:
        path = _paths.pop()
        with contextlib.suppress(OSError):  # a program that ends says why by itself
            if path.is_file():
                _record(path.parent, {path.name: _digest(path)})


interrupts.BEFORE_LEAVING.append(record)

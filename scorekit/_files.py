"""Reading files of unknown origin, within limits.

Only regular files are read, after links are resolved: a pipe may block for ever, and a device may have no end. A file
that would unpack to far more than it holds is an error.

``path`` is a local path, and ``name`` the subject of the message of an error, such as the file: a ``ValueError`` where
the file is none of these, an ``OSError`` where there is nothing or it cannot be read.
"""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["check_unpacked", "parse_json", "read_arrays", "read_file", "regular_file"]

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_FREE, _RATIO = 2**28, 100
_DEPTH = 100


def regular_file(path: str | os.PathLike[str]) -> Path:
    """The path of a regular file after links are resolved: no folder, pipe, socket or device.

    Args:
      path: local path.

    >>> regular_file("/dev/zero")
    Traceback (most recent call last):
    ValueError: /dev/zero: must be a regular file, it is a device
    """
    found = Path(os.path.realpath(path, strict=True))
    kind = stat.S_IFMT(found.stat().st_mode)
    if kind != stat.S_IFREG:
        raise ValueError(f"{os.fspath(path)}: must be a regular file, it is {_KINDS.get(kind, 'none')}")
    return found


def read_file(path: str | os.PathLike[str], *, limit: int = _FREE) -> bytes:
    """The content of a regular file.

    Args:
      path: local path.
      limit: largest number of bytes.

    >>> read_file(__file__, limit=10)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...files.py: must hold at most 10 bytes, it holds ...
    """
    with open(regular_file(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"{os.fspath(path)}: must hold at most {limit:,} bytes, it holds {size:,}")
        return file.read()


def check_unpacked(name: str, unpacked: int, packed: int) -> None:
    """Validates that a file does not unpack to far more than it holds: 256 MiB, or 100 times its bytes.

    Args:
      name: subject of the error message, such as the file.
      unpacked: number of bytes in memory.
      packed: number of bytes in the file.

    >>> check_unpacked("a.png", 2**40, 1000)
    Traceback (most recent call last):
    ValueError: a.png unpacks from 1,000 to 1,099,511,627,776 bytes, the limit is 268,435,456 or 100 times the file
    """
    if unpacked > max(_FREE, _RATIO * packed):
        raise ValueError(
            f"{name} unpacks from {packed:,} to {unpacked:,} bytes, the limit is {_FREE:,} or {_RATIO} times the file"
        )


_STATED = re.compile(r"(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)")
_UNKNOWN = 2**31 - 2**16
"""Sizes from here on stand for an unknown one, in files that were written to a pipe."""


def check_complete(log: str) -> None:
    """Raises a ``ValueError`` if the log of libsndfile, ``extra_info``, says that a file is shorter than its header.

    >>> check_complete("data : 16002 (should be 7979)")
    Traceback (most recent call last):
    ValueError: it ends after 7,979 of the 16,002 bytes that its header states (was its copy cut off?)
    """
    for stated, there in (map(int, found) for found in _STATED.findall(log)):
        if there < stated < _UNKNOWN:
            words = f"{there:,} of the {stated:,} bytes that its header states"
            raise ValueError(f"it ends after {words} (was its copy cut off?)")


def parse_json(content: str | bytes, name: str | os.PathLike[str], *, finite: bool = False) -> Any:
    """The value of a JSON text whose lists and objects are nested no deeper than 100.

    Args:
      content: text, or its bytes.
      name: subject of the error message, such as the file.
      finite: whether NaN and infinities, which are not JSON, are errors.

    >>> parse_json("[1, 2]", "a.json")
    [1, 2]
    >>> parse_json("[" * 200 + "]" * 200, "a.json")
    Traceback (most recent call last):
    ValueError: a.json must be JSON: nested deeper than 100
    """

    def constant(text: str) -> float:
        if finite:
            raise ValueError(f"{text} is no number")
        return float(text)

    try:
        found = json.loads(content, parse_constant=constant)
    except RecursionError:
        raise ValueError(f"{os.fspath(name)} must be JSON: nested deeper than {_DEPTH}") from None
    except ValueError as error:
        raise ValueError(f"{os.fspath(name)} must be JSON: {error}") from error
    level = [found]
    for _ in range(_DEPTH + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [each for values in inner for each in values]
    if level:
        raise ValueError(f"{os.fspath(name)} must be JSON: nested deeper than {_DEPTH}")
    return found


def read_arrays(file: str | os.PathLike[str] | BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name, none of objects; :func:`check_unpacked` holds of it.

    Args:
      file: local path, or an open file.

    >>> import io
    >>> file = io.BytesIO()
    >>> np.savez(file, x=np.arange(3))
    >>> read_arrays(file)
    {'x': array([0, 1, 2])}
    """
    if isinstance(file, str | os.PathLike):
        with open(regular_file(file), "rb") as opened:
            return read_arrays(opened)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with np.load(file) as found:
            check_unpacked("it", sum(member.file_size for member in found.zip.infolist()), size)
            return {name: np.asarray(array) for name, array in found.items()}
    except Exception as error:  # of many kinds
        raise ValueError(f"{getattr(file, 'name', 'file')}: must be an .npz file of arrays: {error}") from error

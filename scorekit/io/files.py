"""Paths of this machine and of buckets; atomic writes: readers never see a partially written file; checked reads.

>>> in_bucket("gs://bucket/run"), in_bucket("runs/digits")
(True, False)
>>> as_path("runs/digits").name, str(as_path("gs://bucket/run") / "config.json")
('digits', 'gs://bucket/run/config.json')
>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     read_json(write_atomic(f"{folder}/deep/config.json", '{"steps": 10}'))
{'steps': 10}
>>> check_regular("/dev/zero")
Traceback (most recent call last):
ValueError: /dev/zero: must be a regular file, it is a device
"""

import os
from pathlib import Path
from typing import Any

from scorekit._files import parse_json, regular_file


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether a path is one of an object store: whether it has a scheme, ``://``.

    Args:
      path: path, ``~`` being the home folder, or ``gs://bucket/folder`` with the package of its bucket for fsspec.
    """
    return "://" in os.fspath(path)


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path as an object with the methods of ``pathlib.Path``.

    Args:
      path: path, ``~`` being the home folder, or ``gs://bucket/folder`` with the package of its bucket for fsspec.
    """
    if not in_bucket(path):
        return Path(path).expanduser()
    from etils import epath  # late: local paths need nothing

    found: Any = epath.Path(path)
    return found


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raises a ``ValueError`` unless a path is of a regular file, after links are resolved, or of no file at all.

    A FIFO blocks its reader, and a device such as ``/dev/zero`` never ends. Files of a bucket are not looked at.

    Args:
      path: path, ``~`` being the home folder, or ``gs://bucket/folder`` with the package of its bucket for fsspec.
    """
    if not in_bucket(path) and Path(path).exists():
        regular_file(path)


_LARGEST = 2**26  # bytes of a file of JSON; files of tokenisers have 2 ** 24


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a file of JSON, by its fields.

    Args:
      path: path, ``~`` being the home folder, or ``gs://bucket/folder`` with the package of its bucket for fsspec.

    Raises:
      ValueError: naming the path, for anything but a regular file with an object of at most 64 MiB, nested no deeper
        than :func:`scorekit.io.parse_json` reads.
    """
    path = as_path(path)
    check_regular(path)
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"{path}: must be JSON: it has more than 64 MiB")
    found = parse_json(data, f"{path}:", finite=True)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: must be a JSON object, got {type(found).__name__}")
    return found


def write_atomic(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Writes a file atomically: to a temporary file in the same directory, which is then renamed to ``path``.

    A process that is killed leaves either the old file or the new one. Missing directories are created. In a bucket the
    object is written at once, which is atomic there. An ``OSError`` names ``path``.

    Args:
      path: path, ``~`` being the home folder, or ``gs://bucket/folder`` with the package of its bucket for fsspec.
      content: bytes, or text that is encoded as UTF-8.
    """
    if not isinstance(content, str | bytes | bytearray | memoryview):
        raise TypeError(f"content must be text or bytes, got {type(content).__name__}")
    path, data = as_path(path), content.encode() if isinstance(content, str) else content
    if in_bucket(path):
        path.write_bytes(data)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:  # a full disk's has no file name
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
    return path

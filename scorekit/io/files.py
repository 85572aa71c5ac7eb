"""Paths of this machine and of buckets; atomic writes: readers never see a partially written file."""

import os
from pathlib import Path
from typing import Any

__all__ = ["as_path", "in_bucket", "write_atomic"]


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether a path is one of an object store, such as ``gs://bucket/folder`` or ``s3://bucket/folder``.

    Args:
      path: any path.

    Returns:
      Whether it has a scheme, ``://``.

    >>> in_bucket("gs://bucket/run"), in_bucket("runs/digits")
    (True, False)
    """
    return "://" in os.fspath(path)


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path as an object with the methods of ``pathlib.Path``, of this machine or of a bucket.

    Args:
      path: a local path, in which ``~`` is the home folder, or one of a bucket, which needs its package for fsspec
        (``gcsfs``, ``s3fs``).

    Returns:
      The path.

    >>> as_path("runs/digits").name, str(as_path("gs://bucket/run") / "config.json")
    ('digits', 'gs://bucket/run/config.json')
    """
    if not in_bucket(path):
        return Path(path).expanduser()
    from etils import epath  # late: local paths need nothing

    found: Any = epath.Path(path)
    return found


def write_atomic(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Writes a file atomically: to a temporary file in the same directory, which is then renamed to ``path``.

    A process that is killed leaves either the old file or the new one. Missing directories are created. In a bucket the
    object is written at once, which is atomic there.

    Args:
      path: of the file, see :func:`as_path`.
      content: bytes, or text that is encoded as UTF-8.

    Returns:
      The path.

    Raises:
      TypeError: if ``content`` is neither text nor bytes; nothing is written.
      OSError: if the file cannot be written, naming ``path``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomic(f"{folder}/deep/note.txt", "done").read_text()
    'done'
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
    except OSError as error:  # that of a full disk has no file name
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
    return path

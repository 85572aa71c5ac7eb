"""Atomic writes: readers never see a partially written file."""

import os
from pathlib import Path


def write_atomic(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Writes a file atomically: to a temporary file in the same directory, which is then renamed to ``path``.

    A process that is killed leaves either the old file or the new one. Missing directories are created.

    Args:
      path: of the file.
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:  # that of a full disk has no file name
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
    return path

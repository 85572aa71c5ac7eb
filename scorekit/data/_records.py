"""Files of examples, in a folder or in tar files, before they are decoded: names, classes, captions, and bytes."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from scorekit.io import regular_file

MOST_TEXT = 2**24
"""Bytes of a caption, or of the fields of an example."""


class Record(NamedTuple):
    """One example before it is decoded; the label is None without a class, the caption None without one.

    Its bytes are ``length`` of the file ``path`` from ``offset`` on.
    """

    name: str
    label: int | None
    caption: str | None
    path: Path
    offset: int = 0
    length: int | None = None

    def open(self) -> "Span":
        """The bytes as a file; an ``OSError`` or ``ValueError`` where there is none."""
        return Span(regular_file(self.path), self.offset, self.length)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.path.stat().st_size if self.length is None else self.length

    def content(self, limit: int) -> bytes:
        """All bytes; a ``ValueError`` names an example that cannot be read or holds more than ``limit``."""
        try:
            with self.open() as file:
                if file.length > limit:
                    raise ValueError(f"it must hold at most {limit:,} bytes, it holds {file.length:,}")
                return file.read(file.length) or b""
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.name} cannot be read: {error}") from error


class Span(io.RawIOBase):
    """A part of a file, as a file that can be read and searched."""

    def __init__(self, path: Path, offset: int, length: int | None):
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115
        held = self._file.seek(0, io.SEEK_END) - offset
        self._offset, self.length, self._at = offset, held if length is None else length, 0
        if self.length > held:
            self.close()
            raise ValueError("the file has become shorter")

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self._at = max(0, offset + (0, self._at, self.length)[whence])
        return self._at

    def readinto(self, buffer):
        self._file.seek(self._offset + self._at)
        found = self._file.read(max(0, min(len(buffer), self.length - self._at)))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self):
        self._file.close()
        super().close()


class Files:
    """Records with random access: ``name``, ``classes`` (names by number) and ``captioned`` of a folder or tar files.

    Attributes:
      names: names of the files, in their order.
      num_classes: number of classes, at least 1; those of tar files may have no names.
      labelled: whether any file has a class, so that all must.
    """

    names: list[str]

    def __init__(self, name: str, num_classes: int, classes: tuple[str, ...], captioned: bool, labelled: bool):
        self.name, self.num_classes, self.classes = name, num_classes, classes
        self.captioned, self.labelled = captioned, labelled

    def record(self, index: int) -> Record:
        """The example of an index from 0 to N - 1; a ``ValueError`` names one that cannot be read."""
        raise NotImplementedError

    def fields(self, record: Record) -> dict[str, Any]:
        """Its ``"label"``, and ``"caption"`` if there are captions; a ``ValueError`` where others have one."""
        if record.label is None and self.labelled:
            raise ValueError(f"{record.name} must have a class, as others do")
        if record.caption is None and self.captioned:
            raise ValueError(f"{record.name} must have a caption, as others do")
        label = {"label": np.int32(record.label or 0)}
        return {**label, "caption": record.caption} if self.captioned else label


def folders_of(names: list[str], what: str) -> dict[str, str]:
    """The first folders of paths as their classes; none where all files are beside each other."""
    beside = [name for name in names if "/" not in name]
    if beside and len(beside) < len(names):
        raise ValueError(f"path must have all {what} in subfolders or none; {beside[0]} is beside them")
    return {} if beside else {name: name.split("/")[0] for name in names}


def numbered(names: Iterable[str]) -> dict[str, int]:
    """The numbers of classes, in the order of their names."""
    return {name: i for i, name in enumerate(sorted(set(names)))}

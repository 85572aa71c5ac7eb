"""Shards of examples in tar files, in the layout of WebDataset, with random access."""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scorekit._files import parse_json, read_file, regular_file
from scorekit.arguments import PositiveInt, checked
from scorekit.data._pictures import MOST_PICTURE, MOST_TEXT, SUFFIXES, Mode, PictureSource, Record
from scorekit.io import write_atomic

__all__ = ["tar"]

_VERSION = 2
_BLOCK = 512
_NO_CLASS, _MOST_CLASSES = -2, 2**20
_MOST_INDEX = 4  # bytes of an index for each byte of its tar file, in which names are shorter than in JSON
_LIMITS = {"picture": MOST_PICTURE, "txt": MOST_TEXT, "json": MOST_TEXT, "cls": MOST_TEXT}
"""The parts of an example that are read, and the bytes of each."""


@checked
def tar(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    size: PositiveInt | None = None,
    mode: Mode | None = None,
    index_folder: str | os.PathLike | None = None,
) -> "_Tar":
    """The images in tar files, read in place on access: a source like :func:`scorekit.data.folder`.

    Files of one key, the path up to the first dot of the file's name, are one example: a picture ``0001.jpg`` (or png,
    webp, ...), its class ``0001.cls`` (an integer), its caption ``0001.txt``, and ``0001.json``, an object of which
    ``"label"`` is a class and ``"caption"`` or ``"text"`` a caption; the former two take precedence. Classes are below
    2²⁰. A hard link stands for an earlier file; a symbolic link is an error (``tar --dereference`` stores its target).

    The offsets in a tar file are found once and written as ``name.tar.index.json`` alongside it, where that is
    possible; they are found anew if its size or time of modification has changed, or they do not fit it.

    Args:
      paths: one uncompressed tar file or several, read in the order given.
      index_folder: folder to keep the offsets in instead, created if missing.

    Raises:
      ValueError: for a file that is no tar file, compressed, truncated or without images; ``source[i]`` for an example
        that is damaged, of another size or mode, or without a class or caption where others have one.

    >>> import io, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as path:
    ...     Image.new("L", (8, 8), 255).save(f"{path}/1.png")
    ...     with tarfile.open(f"{path}/a.tar", "w") as file:
    ...         file.add(f"{path}/1.png", "0001.png")
    ...         info = tarfile.TarInfo("0001.cls")
    ...         info.size = 1
    ...         file.addfile(info, io.BytesIO(b"3"))
    ...     source = tar(f"{path}/a.tar")
    ...     example = source[0]
    >>> len(source), source.num_classes, example["x"].shape, int(example["label"])
    (1, 4, (8, 8, 1), 3)
    """
    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not several:
        raise ValueError(f"paths must name at least one tar file, got {paths!r}")
    return _Tar([Path(path).expanduser() for path in several], size, mode, index_folder)


class _Tar(PictureSource):
    """Pictures in tar files; see :func:`tar`."""

    def __init__(self, paths: list[Path], size: int | None, mode: str | None, index_folder: Any):
        self._paths = paths
        found = [_index(path, index_folder) for path in paths]
        self._keys = [key for index in found for key in index["keys"]]
        if not self._keys:
            raise ValueError(f"paths must be tar files with pictures ({', '.join(SUFFIXES)}), {paths[0]} has none")
        self._shard = np.repeat(np.arange(len(paths)), [len(index["keys"]) for index in found])
        self._spans = np.concatenate([index["spans"] for index in found])
        self._labels = np.concatenate([index["labels"] for index in found])
        captioned = any(index["captioned"] for index in found)
        super().__init__(paths[0].stem, max(1, 1 + int(self._labels.max())), (), captioned, size, mode)

    def __len__(self) -> int:
        return len(self._keys)

    def _record(self, index: int) -> Record:
        path = self._paths[self._shard[index]]
        name, label = f"{path}: {self._keys[index]}", int(self._labels[index])
        if label == _NO_CLASS:
            raise ValueError(f"{name} must have an integer >= 0 as class in its .cls or .json, and < {_MOST_CLASSES:,}")
        try:
            with open(path, "rb") as file:
                picture, text, fields = (_read(file, *span) for span in self._spans[index].tolist())
            caption = text.decode() if text is not None else _caption(parse_json(fields, "json")) if fields else None
        except (OSError, ValueError) as error:
            raise ValueError(f"{name} cannot be read: {error}") from error
        assert picture is not None
        return Record(name, picture, None if label < 0 else label, caption and caption.strip())


def _read(file: Any, offset: int, length: int) -> bytes | None:
    if length < 0:
        return None
    file.seek(offset)
    content = file.read(length)
    if len(content) != length:
        raise ValueError("the file has become shorter")
    return content


def _caption(fields: Any) -> str | None:
    text = fields.get("caption", fields.get("text")) if isinstance(fields, dict) else None
    return text if isinstance(text, str) else None


def _index(path: Path, folder: str | os.PathLike | None) -> dict[str, Any]:
    """The offsets of one tar file, from its index if that is up to date."""
    try:
        status = regular_file(path).stat()
    except OSError as error:
        raise ValueError(f"paths must name tar files, got {str(path)!r}: {error.strerror}") from error
    stamp = [_VERSION, status.st_size, status.st_mtime_ns]
    kept = path.with_name(f"{path.name}.index.json")
    if folder is not None:
        place = hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:8]
        kept = Path(folder).expanduser() / f"{path.name}.{place}.index.json"
    try:
        found = parse_json(read_file(kept, within=kept.parent, limit=_MOST_INDEX * status.st_size), kept)
        if found["stamp"] == stamp:
            return _checked(found, status.st_size)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass  # none yet, or a damaged one
    found = {"stamp": stamp, **_scan(path)}
    try:
        write_atomic(kept, json.dumps(found))
    except OSError as error:
        if folder is not None:
            raise ValueError(f"index_folder must be a folder that can be written: {error}") from error
    return _checked(found, status.st_size)


def _checked(index: dict[str, Any], size: int) -> dict[str, Any]:
    """An index with its numbers as arrays; a ``ValueError`` where it cannot be of a tar file of this size."""
    keys, captioned = index["keys"], index["captioned"]
    labels = np.asarray(index["labels"], np.int64)
    spans = np.asarray(index["spans"], np.int64).reshape(len(keys), 3, 2)
    offset, length = np.moveaxis(spans, -1, 0)
    most = np.minimum([_LIMITS[part] for part in ("picture", "txt", "json")], size - offset)
    inside = (offset >= 0) & (length >= [0, -1, -1]) & (length <= most)
    classes = (labels >= _NO_CLASS) & (labels < _MOST_CLASSES)
    texts = isinstance(captioned, bool) and all(isinstance(key, str) for key in keys)
    if not (texts and np.all(inside) and np.all(classes) and labels.shape == (len(keys),)):
        raise ValueError("an index of another file")
    return {"keys": keys, "labels": labels, "spans": spans, "captioned": captioned}


def _scan(path: Path) -> dict[str, Any]:
    """The keys of the examples of a tar file, in its order, with the offset and size of the picture, text and json."""
    examples: dict[str, dict[str, tuple[int, int]]] = {}
    stored: dict[str, tuple[int, int]] = {}
    for member in _members(path):
        folder, _, name = member.name.rpartition("/")
        stem, _, kind = name.partition(".")
        part = "picture" if f".{kind.lower()}" in SUFFIXES else kind
        span = stored.get(member.linkname) if member.islnk() else None
        if member.isfile() and not member.issparse():
            span = stored[member.name] = member.offset_data, member.size
        if not stem or member.isdir() or (span is None and part not in _LIMITS):
            continue
        if span is None:
            raise ValueError(f"{path}: {member.name} must be a file, or a hard link to one before it, without holes")
        if span[1] > (most := _LIMITS.get(part, span[1])):
            raise ValueError(f"{path}: {member.name} must hold at most {most:,} bytes, it holds {span[1]:,}")
        key = f"{folder}/{stem}" if folder else stem
        if part in examples.setdefault(key, {}):
            raise ValueError(f"{path}: {key} must be the key of one example, there are two")
        examples[key][part] = span
    examples = {key: parts for key, parts in examples.items() if "picture" in parts}
    with open(path, "rb") as raw:
        labels = [_label(raw, parts) for parts in examples.values()]
    none = (0, -1)
    spans = [[parts["picture"], parts.get("txt", none), parts.get("json", none)] for parts in examples.values()]
    captioned = any("txt" in parts for parts in examples.values()) or _json_captions(path, examples)
    return {"keys": list(examples), "spans": spans, "labels": labels, "captioned": captioned}


def _members(path: Path) -> list[tarfile.TarInfo]:
    found = []
    try:
        with tarfile.open(path, "r:") as file:
            for member in file:
                if member.size < 0:  # tarfile would go back, and for ever
                    raise tarfile.ReadError(f"the size of {member.name} is negative")
                found.append(member)
            end = file.offset
        with open(path, "rb") as raw:
            raw.seek(end)
            if raw.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError("it does not end as a tar file does")
    except Exception as error:  # of many kinds, RecursionError and OverflowError among them
        raise ValueError(f"{path} must be a complete, uncompressed tar file: {error}") from error
    return found


def _label(file: Any, parts: dict[str, tuple[int, int]]) -> int:
    """The class of an example, -1 for none, -2 for text that is no class."""
    kind = "cls" if "cls" in parts else "json"
    if kind not in parts:
        return -1
    try:
        found = parse_json(_read(file, *parts[kind]) or b"", kind)
    except ValueError:
        return _NO_CLASS
    if kind == "json" and isinstance(found, dict):
        found = found.get("label", -1)
        if found == -1:
            return -1
    return found if type(found) is int and 0 <= found < _MOST_CLASSES else _NO_CLASS


def _json_captions(path: Path, examples: dict[str, dict[str, tuple[int, int]]]) -> bool:
    """Whether the first example with a json file has a caption there."""
    span = next((parts["json"] for parts in examples.values() if "json" in parts), None)
    if span is None:
        return False
    with open(path, "rb") as file:
        try:
            return _caption(parse_json(_read(file, *span) or b"", "json")) is not None
        except ValueError:
            return False

"""The files in tar files, by offsets that are found once and kept alongside."""

import glob
import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from scorekit.data._records import MOST_TEXT, Files, Record, folders_of, numbered
from scorekit.io import parse_json, read_file, regular_file, write_atomic

_VERSION = 4
_BLOCK = 512
_NO_CLASS, _MOST_CLASSES = -2, 2**20
_MOST_INDEX = 2**31  # bytes
_TEXTS = ("txt", "json", "cls")
"""The parts of an example apart from the picture or the sound."""


class TarFiles(Files):
    """The files in tar files with one of the ``suffixes``; ``what`` they are."""

    def __init__(
        self, paths: Any, suffixes: tuple[str, ...], what: str, index_folder: Any = None, by_folder: bool = False
    ):
        self._paths = _found(paths)
        found = [_index(path, index_folder, suffixes, what) for path in self._paths]
        self.names = [key for index in found for key in index["keys"]]
        if not self.names:
            raise ValueError(f"paths must be tar files with {what} ({', '.join(suffixes)}), {self._paths[0]} has none")
        self._shard = np.repeat(np.arange(len(self._paths)), [len(index["keys"]) for index in found])
        self._spans = np.asarray([span for index in found for span in index["spans"]], np.int64)
        self._labels = np.asarray([label for index in found for label in index["labels"]], np.int64)
        captioned = any(index["captioned"] for index in found)
        number = {}
        if by_folder and np.all(self._labels == -1):
            root = os.path.commonpath([f"/{os.path.dirname(name)}" for name in self.names])
            inside = [os.path.relpath(f"/{name}", root) for name in self.names]
            if class_of := folders_of(inside, what):
                number = numbered(class_of.values())
                self._labels = np.asarray([number[class_of[name]] for name in inside])
        most = int(self._labels.max())
        super().__init__(self._paths[0].stem, max(1, 1 + most), tuple(number), captioned, labelled=most >= 0)

    def record(self, index):
        path = self._paths[self._shard[index]]
        name, label = f"{path}: {self.names[index]}", int(self._labels[index])
        if label == _NO_CLASS:
            raise ValueError(f"{name} must have an integer >= 0 as class in its .cls or .json, and < {_MOST_CLASSES:,}")
        (offset, length), *others = self._spans[index].tolist()
        try:
            with open(path, "rb") as file:
                text, fields = (_read(file, *span) for span in others)
            caption = text.decode("utf-8-sig") if text is not None else _caption(fields and parse_json(fields, "json"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{name} cannot be read: {error}") from error
        return Record(name, None if label < 0 else label, caption and caption.strip(), path, offset, length)


def _found(paths: Any) -> list[Path]:
    """The tar files of a folder, a single one, several, or those that match a pattern."""
    if not isinstance(paths, str | os.PathLike):
        found = [Path(path).expanduser() for path in paths]
        if not found:
            raise ValueError(f"paths must name at least one tar file, got {paths!r}")
        return found
    path = Path(paths).expanduser()
    if not path.is_dir():
        found = [path] if path.exists() else sorted(map(Path, glob.glob(str(path))))
        allowed = "a folder of tar files, one tar file, or a pattern such as /data/train-*.tar"
    else:
        found, allowed = sorted(path.glob("*.tar")), "a folder that holds tar files (*.tar)"
    if not found:
        raise ValueError(f"paths must be {allowed}, got {os.fspath(paths)!r}")
    return found


def _read(file: Any, offset: int, length: int) -> bytes | None:
    if length < 0:
        return None
    if length > MOST_TEXT:
        raise ValueError(f"a text must hold at most {MOST_TEXT:,} bytes, it holds {length:,}")
    file.seek(offset)
    content = file.read(length)
    if len(content) != length:
        raise ValueError("the file has become shorter")
    return content


def _caption(fields: Any) -> str | None:
    text = fields.get("caption", fields.get("text")) if isinstance(fields, dict) else None
    return text if isinstance(text, str) else None


def _index(path: Path, folder: str | os.PathLike | None, suffixes: tuple[str, ...], what: str) -> dict[str, Any]:
    """The offsets of one tar file, from its index if that is up to date."""
    try:
        status = regular_file(path).stat()
    except OSError as error:
        raise ValueError(f"paths must name tar files, got {str(path)!r}: {error.strerror}") from error
    stamp = [_VERSION, status.st_size, status.st_mtime_ns, what]
    kept = path.with_name(f"{path.name}.index.json")
    if folder is not None:
        place = hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:8]
        kept = Path(folder).expanduser() / f"{path.name}.{place}.index.json"
    try:
        found = parse_json(read_file(kept, limit=_MOST_INDEX), kept)
        if found["stamp"] == stamp:
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or a damaged one
    found = {"stamp": stamp, **_scan(path, suffixes)}
    try:
        write_atomic(kept, json.dumps(found))
    except OSError as error:
        if folder is not None:
            raise ValueError(f"index_folder must be a folder that can be written: {error}") from error
    return found


def _scan(path: Path, suffixes: tuple[str, ...]) -> dict[str, Any]:
    """The keys of the examples of a tar file, in its order, with the offset and size of the file, text and json."""
    examples: dict[str, dict[str, tuple[int, int]]] = {}
    stored: dict[str, tuple[int, int]] = {}
    for member in _members(path):
        folder, _, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        lower = suffix.lower()
        part = "file" if f".{lower}" in suffixes else lower if lower in _TEXTS else suffix
        span = stored.get(member.linkname) if member.islnk() else None
        if member.isfile() and not member.issparse():
            span = stored[member.name] = member.offset_data, member.size
        if not stem or member.isdir() or (span is None and part not in ("file", *_TEXTS)):
            continue
        if span is None:
            raise ValueError(f"{path}: {member.name} must be a file, or a hard link to one before it, without holes")
        key = f"{folder}/{stem}" if folder else stem
        if part in examples.setdefault(key, {}):
            raise ValueError(f"{path}: {key} must be the key of one example, there are two")
        examples[key][part] = span
    examples = {key: parts for key, parts in examples.items() if "file" in parts}
    with open(path, "rb") as raw:
        labels = [_label(raw, parts) for parts in examples.values()]
    none = (0, -1)
    spans = [[parts["file"], parts.get("txt", none), parts.get("json", none)] for parts in examples.values()]
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

"""The files in a folder, with the classes and captions that its subfolders, texts and table give them."""

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from scorekit.data._records import MOST_TEXT, Files, Record, folders_of, numbered
from scorekit.io import parse_json, read_file

_CAPTIONS = ("captions.jsonl", "metadata.jsonl")
_MOST_CAPTIONS = 2**30  # bytes of the file of all captions


class FolderFiles(Files):
    """The files in a folder with one of the ``suffixes``; ``what`` they are, for error messages."""

    def __init__(self, path: str | os.PathLike, suffixes: tuple[str, ...], what: str):
        root = Path(path).expanduser()
        if not root.is_dir():
            reason = "no folder" if root.exists() else "which does not exist"
            raise ValueError(f"path must be a folder of {what}, got {os.fspath(path)!r}, {reason}")
        self._root, files = root, sorted(_files(root))
        self.names = [name for name in files if name.lower().endswith(suffixes)]
        if not self.names:
            raise ValueError(f"path must be a folder of {what} ({', '.join(suffixes)}), {root} has none")
        self._captions, labels = _read_table(root, {*self.names}, what)
        class_of = labels or folders_of(self.names, what)
        number = numbered(class_of.values())
        self._labels = {name: number[each] for name, each in class_of.items()}
        texts = {name[:-4]: name for name in files if name.lower().endswith(".txt")}
        stems = {name: os.path.splitext(name)[0] for name in self.names}
        self._texts = {name: texts[stem] for name, stem in stems.items() if stem in texts}
        captioned = bool(self._captions or self._texts)
        super().__init__(root.name, max(1, len(number)), tuple(number), captioned, labelled=bool(number))

    def record(self, index):
        name = self.names[index]
        path, caption = self._root / name, self._captions.get(name)
        if name in self._texts:
            caption = _text(self._root / self._texts[name], MOST_TEXT).strip()
        return Record(str(path), self._labels.get(name), caption, path)


def _files(root: Path) -> Iterator[str]:
    """The paths of all files below a folder, relative to it, with ``/``; subfolders of it may be links."""
    with os.scandir(root) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        if not entry.is_dir():
            yield entry.name
            continue
        for where, folders, files in os.walk(entry.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(where).relative_to(root).as_posix()
            yield from (f"{inside}/{name}" for name in files if not name.startswith("."))


def _text(path: Path, limit: int) -> str:
    """The content of a file in UTF-8, with or without a byte order mark."""
    try:
        return read_file(path, limit=limit).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read_table(root: Path, names: set[str], what: str) -> tuple[dict[str, str], dict[str, str]]:
    """The captions, and the names of classes, of the files that the lines of a table name: at least one of them."""
    path = next((root / name for name in _CAPTIONS if (root / name).exists()), None)
    found: dict[str, dict[str, str]] = {"text": {}, "label": {}}
    if path is None:
        return found["text"], found["label"]
    others = None
    for number, line in enumerate(_text(path, _MOST_CAPTIONS).split("\n"), 1):
        if line.strip():
            for field, name, value in _entries(line, f"{path}, line {number},"):
                if name not in names:
                    others = others or f"line {number} names {name!r}"
                elif name in found[field]:
                    raise ValueError(f"{path}, line {number}, must not give {name} a second {field}")
                else:
                    found[field][name] = value
    if others and not any(found.values()):
        raise ValueError(f"{path} must name {what} in {root}, but {others}")
    return found["text"], found["label"]


def _entries(line: str, where: str) -> list[tuple[str, str, str]]:
    """The caption and the class of a line of a table: the field, the path of the file and the text."""
    try:
        record = parse_json(line, where)
        given = {field: record[field] for field in ("file_name", "text", "label") if field in record}
        name = posixpath.normpath(given.pop("file_name"))
        if not given:
            raise KeyError
    except (KeyError, TypeError, ValueError) as error:
        form = '{"file_name": "a/1.jpg", "text": "a caption", "label": "a class"}, or one of the latter'
        raise ValueError(f"{where} must hold {form}") from error
    for field, value in given.items():
        if not isinstance(value, str):
            raise ValueError(f"{where} must hold a string as {field}, got {value!r}")
    return [(field, name, value) for field, value in given.items()]

"""The files in a folder, with the classes and captions that its subfolders, texts and table give them."""

import os
from collections.abc import Iterator
from pathlib import Path

from scorekit._files import parse_json, read_file, resolved
from scorekit.data._records import MOST_TEXT, Files, Record, folders_of, numbered

_CAPTIONS = ("captions.jsonl", "metadata.jsonl")
_MOST_CAPTIONS = 2**30  # bytes of the file of all captions


class FolderFiles(Files):
    """The files in a folder with one of the ``suffixes``; ``what`` they are, for error messages."""

    def __init__(self, path: str | os.PathLike, suffixes: tuple[str, ...], what: str):
        root = Path(path).expanduser()
        if not root.is_dir():
            raise ValueError(f"path must be a folder of {what}, got {os.fspath(path)!r}")
        self._root, texts, self.names = root, set(), []
        for name in _files(root):
            if name.lower().endswith(suffixes):
                self.names.append(name)
            elif name.endswith(".txt"):
                texts.add(name.removesuffix(".txt"))
        if not self.names:
            raise ValueError(f"path must be a folder of {what} ({', '.join(suffixes)}), {root} has none")
        self.names.sort()
        self._captions, labels = _read_table(root)
        known = {name: labels[name] for name in self.names if name in labels}
        class_of = known if labels else folders_of(self.names, what)
        number = numbered(class_of.values())
        self._labels = {name: number[each] for name, each in class_of.items()}
        self._texts = {name for name in self.names if os.path.splitext(name)[0] in texts}
        captioned = bool(self._captions or self._texts)
        super().__init__(root.name, max(1, len(number)), tuple(number), captioned)

    def record(self, index):
        name = self.names[index]
        path, caption = self._root / name, self._captions.get(name)
        if name in self._texts:
            try:
                text = read_file(path.with_suffix(".txt"), within=self._root, limit=MOST_TEXT)
                caption = text.decode().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{path} cannot be read: {error}") from error
        return Record(str(path), self._labels.get(name), caption, path, within=self._root)


def _files(root: Path) -> Iterator[str]:
    """The paths of all files below a folder, relative to it, with ``/``; subfolders of it may be links."""
    with os.scandir(root) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        if not entry.is_dir():
            yield entry.name
            continue
        resolved(entry.path, within=root)
        for where, folders, files in os.walk(entry.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(where).relative_to(root).as_posix()
            yield from (f"{inside}/{name}" for name in files if not name.startswith("."))


def _read_table(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The captions, and the names of classes, of the files that the lines of a table name."""
    path = next((root / name for name in _CAPTIONS if (root / name).exists()), None)
    found: dict[str, dict[str, str]] = {"text": {}, "label": {}}
    if path is None:
        return found["text"], found["label"]
    number = 0
    try:
        content = read_file(path, within=root, limit=_MOST_CAPTIONS)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    try:
        for line in content.decode().splitlines():
            number += 1
            if line.strip():
                record = parse_json(line, path)
                given = {field: record[field] for field in ("text", "label") if field in record}
                if not given or not all(isinstance(value, str) for value in (record["file_name"], *given.values())):
                    raise TypeError
                for field, value in given.items():
                    found[field][record["file_name"]] = value
    except (KeyError, TypeError, ValueError) as error:
        line = '{"file_name": "a/1.jpg", "text": "a caption", "label": "a class"}, or one of the latter'
        raise ValueError(f"{path}, line {number}, must hold {line}") from error
    return found["text"], found["label"]

"""A folder of images as a source of examples."""

import os
from collections.abc import Iterator
from pathlib import Path

from scorekit._files import parse_json, read_file, resolved
from scorekit.arguments import PositiveInt, checked
from scorekit.data._pictures import MOST_PICTURE, MOST_TEXT, SUFFIXES, Mode, PictureSource, Record

__all__ = ["folder"]

_CAPTIONS = ("captions.jsonl", "metadata.jsonl")
_MOST_CAPTIONS = 2**30  # bytes of the file of all captions


@checked
def folder(path: str | os.PathLike, *, size: PositiveInt | None = None, mode: Mode | None = None) -> "_Folder":
    """The images in a folder, read on access: a source for :func:`scorekit.data.stream`.

    ``source[i]`` is ``{"x": uint8 (H, W, C), "label": int32}``, with ``"caption"`` if there are captions. Their class
    is the subfolder they are in (at any depth below it), numbered in the order of their names; without subfolders there
    is one class. Captions are the text of ``name.txt`` alongside ``name.jpg``, or lines ``{"file_name": "cats/1.jpg",
    "text": "a cat"}`` of ``captions.jsonl`` or ``metadata.jsonl`` in the folder. Names that begin with a dot are left
    out. They are in the order of the paths. Links may not lead out of the folder. The source
    has ``name``, ``num_classes``, ``classes``, ``captioned`` and ``shape`` ``(H, W, C)``.

    Args:
      path: the folder, with files of the kinds bmp, gif, jpeg, jpg, png, ppm, tif, tiff, webp.

    Raises:
      ValueError: for no images, or images both in subfolders and alongside them; ``source[i]`` for one that is
        damaged, of another size or mode, or has no caption where others have one.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as path:
    ...     for name in ("cat", "dog"):
    ...         os.mkdir(f"{path}/{name}")
    ...         Image.new("RGB", (20, 10), "red").save(f"{path}/{name}/1.png")
    ...     source = folder(path, size=8)
    ...     example = source[1]
    >>> source.classes, example["x"].shape, int(example["label"])
    (('cat', 'dog'), (8, 8, 3), 1)
    """
    return _Folder(path, size, mode)


class _Folder(PictureSource):
    """Pictures in a folder; see :func:`folder`."""

    def __init__(self, path: str | os.PathLike, size: int | None, mode: str | None):
        root = Path(path).expanduser()
        if not root.is_dir():
            raise ValueError(f"path must be a folder of pictures, got {os.fspath(path)!r}")
        self._root, texts, self._names = root, set(), []
        for name in _files(root):
            if name.lower().endswith(SUFFIXES):
                self._names.append(name)
            elif name.endswith(".txt"):
                texts.add(name.removesuffix(".txt"))
        if not self._names:
            raise ValueError(f"path must be a folder of pictures ({', '.join(SUFFIXES)}), {root} has none")
        self._names.sort()
        beside = [name for name in self._names if "/" not in name]
        if beside and len(beside) < len(self._names):
            raise ValueError(f"path must have all pictures in subfolders or none; {root / beside[0]} is beside them")
        classes = () if beside else tuple(sorted({name.split("/")[0] for name in self._names}))
        self._class = {name: i for i, name in enumerate(classes)}
        self._captions = _read_captions(root)
        self._texts = {name for name in self._names if os.path.splitext(name)[0] in texts}
        captioned = bool(self._captions or self._texts)
        super().__init__(root.name, max(1, len(classes)), classes, captioned, size, mode)

    def __len__(self) -> int:
        return len(self._names)

    def _record(self, index: int) -> Record:
        name = self._names[index]
        path, caption = self._root / name, self._captions.get(name)
        try:
            if name in self._texts:
                text = read_file(path.with_suffix(".txt"), within=self._root, limit=MOST_TEXT)
                caption = text.decode().strip()
            content = read_file(path, within=self._root, limit=MOST_PICTURE)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        return Record(str(path), content, self._class.get(name.split("/")[0], 0), caption)


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


def _read_captions(root: Path) -> dict[str, str]:
    path = next((root / name for name in _CAPTIONS if (root / name).exists()), None)
    if path is None:
        return {}
    found, number = {}, 0
    try:
        content = read_file(path, within=root, limit=_MOST_CAPTIONS)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    try:
        for line in content.decode().splitlines():
            number += 1
            if line.strip():
                record = parse_json(line, path)
                name, text = record["file_name"], record["text"]
                if not (isinstance(name, str) and isinstance(text, str)):
                    raise TypeError
                found[name] = text
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}, line {number}, must hold {{"file_name": "1.jpg", "text": "a caption"}}') from error
    return found

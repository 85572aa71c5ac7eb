"""A user's own images: a folder of pictures, or tar files in the layout of WebDataset."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from experiments.cli.config import ConfigError, require
from experiments.cli.fields import Text
from experiments.data.dataset import evenly
from experiments.data.images import ImageSet, by_fields
from scorekit import data
from scorekit.arguments import OneOf
from scorekit.io import resolved

HELD_OUT = 2000
"""Most pictures that are held out where there is no folder of them."""
LEAST = 8
"""Fewest pictures of a set: metrics compare an image with its nearest neighbours."""


class Rows:
    """Some rows of a source of pictures."""

    def __init__(self, source: Any, rows: np.ndarray):
        self._source, self._rows, self.shape, self.num_classes = source, rows, source.shape, source.num_classes
        self.classes = source.classes

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._source[int(self._rows[index])]


@dataclass(kw_only=True, eq=False)
class Folder(ImageSet):
    """Pictures in a folder, or in a subfolder for each class.

    Folders ``path/train`` and ``path/test`` (``train_split``, ``test_split``) are the two sets. Where there are none, a
    tenth of the pictures, from :data:`LEAST` to :data:`HELD_OUT`, evenly spaced in their order, is the test set.

    Args:
      path: the folder.
      image_mode: "RGB" or "L" (grey) to convert every picture to; None is for pictures of one mode.
    """

    path: Annotated[str, Text("a folder, tar file or pattern")]
    image_mode: Annotated[Literal["RGB", "L"], OneOf("RGB", "L")] | None = None
    opener = staticmethod(data.folder)

    def open(self):
        root = Path(self.path).expanduser()
        with of_path(self.path):
            opened = lambda path: self.opener(path, size=self.image_size, mode=self.image_mode)
            train, test = open_splits(root, self.train_split, self.test_split, opened) or _divided(opened(root))
            if min(len(train), len(test)) < LEAST:
                raise ValueError(
                    f"there must be at least {LEAST} pictures to train with and {LEAST} to test with, "
                    f"there are {len(train)} and {len(test)}"
                )
        return Named(train, root.name or str(root)), test


@dataclass(kw_only=True, eq=False)
class Tar(Folder):
    """Pictures in tar files in the layout of WebDataset: ``path`` is a folder of them, one file, or a pattern."""

    opener = staticmethod(data.tar)


class Named:
    """A source of pictures under another name."""

    bins = 256

    def __init__(self, source: Any, name: str):
        self._source, self.name = source, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._source[index]


@contextlib.contextmanager
def of_path(path: str) -> Iterator[None]:
    """Errors of files in ``config.data.path`` as a :class:`ConfigError`."""
    try:
        require("\0" not in path, "data.path", path, "a path")
        yield
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError(f"config.data: {error}") from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"config.data.path={path}: {by_fields(str(error))}") from error


def open_splits(root: Path, train_split: str, test_split: str, opened: Callable[[Path], Any]) -> tuple[Any, Any] | None:
    """The sources of the training and test set in folders of their own; None where there are none."""
    names = {"train_split": train_split, "test_split": test_split}
    parts = {field: root / name for field, name in names.items()}
    there = {field: resolved(part, within=root) for field, part in parts.items() if part.is_dir()}
    if not there:
        return None
    if len(there) == 1:
        (missing,) = parts.keys() - there.keys()
        present = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir()))
        require(False, f"data.{missing}", names[missing], f"a folder in {root}, which has {present}")
    train, test = map(opened, parts.values())
    same = train.classes == test.classes
    require(same, "data.test_split", test_split, f"a folder with the classes of {train_split}")
    return train, test


def _divided(source: Any) -> tuple[Rows, Rows]:
    held_out = evenly(len(source), max(LEAST, min(len(source) // 10, HELD_OUT)))
    kept = np.delete(np.arange(len(source)), held_out)
    return Rows(source, kept), Rows(source, held_out)

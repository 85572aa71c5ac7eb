"""A user's own images: a folder of pictures, or tar files in the layout of WebDataset."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli.config import Config, ConfigError, require
from experiments.data.dataset import evenly
from experiments.data.images import Images, by_fields
from scorekit import data
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


class ImageFiles(Images):
    """Pictures in ``config.data.path``; ``config.data.name`` says how they are stored.

    Folders ``path/train`` and ``path/test`` (``config.data.train_split``, ``test_split``) are the two sets. Where there
    are none, a tenth of the pictures, from :data:`LEAST` to :data:`HELD_OUT`, evenly spaced in their order, is the test
    set.
    """

    image_fields = ()

    def __init__(self, config: Config):
        options = config.data
        kind = options.name.split("/")[0]
        root = Path(options.path).expanduser()
        with reading(config):
            opened = lambda path: OPENERS[kind](path, size=options.image_size, mode=options.image_mode)
            train, test = open_splits(config, opened) or _divided(opened(root))
            if min(len(train), len(test)) < LEAST:
                raise ValueError(
                    f"there must be at least {LEAST} pictures to train with and {LEAST} to test with, "
                    f"there are {len(train)} and {len(test)}"
                )
            self.fill_from(config, root.name or str(root), 256, train, test)

    @classmethod
    def check(cls, config):
        super().check(config)
        name, path = config.data.name, config.data.path
        require(name in OPENERS, "data.name", name, f"one of {', '.join(OPENERS)} without a suffix")
        require(path is not None and "\0" not in path, "data.path", path, f"set for data.name={name}")


@contextlib.contextmanager
def reading(config: Config) -> Iterator[None]:
    """Errors of files in ``config.data.path`` as a :class:`ConfigError`."""
    try:
        yield
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError(f"config.data.name={config.data.name}: {error}") from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"config.data.path={config.data.path}: {by_fields(str(error))}") from error


def open_splits(config: Config, opened: Callable[[Path], Any]) -> tuple[Any, Any] | None:
    """The sources of the training and test set in folders of their own; None where there are none."""
    options = config.data
    root = Path(options.path).expanduser()
    parts = {field: root / options[field] for field in ("train_split", "test_split")}
    found = {field: resolved(part, within=root) for field, part in parts.items() if part.is_dir()}
    if not found:
        return None
    if len(found) == 1:
        (missing,) = parts.keys() - found.keys()
        present = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir()))
        require(False, f"data.{missing}", options[missing], f"a folder in {root}, which has {present}")
    train, test = (opened(parts[field]) for field in ("train_split", "test_split"))
    same = train.classes == test.classes
    require(same, "data.test_split", options.test_split, f"a folder with the classes of {options.train_split}")
    return train, test


def _divided(source: Any) -> tuple[Rows, Rows]:
    held_out = evenly(len(source), max(LEAST, min(len(source) // 10, HELD_OUT)))
    kept = np.delete(np.arange(len(source)), held_out)
    return Rows(source, kept), Rows(source, held_out)


OPENERS: Mapping[str, Callable] = {"folder": data.folder, "tar": data.tar}

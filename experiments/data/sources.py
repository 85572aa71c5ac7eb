"""Sources of examples that are read from disk as they are needed, or into memory: files, parts of them, arrays."""

import concurrent.futures
import contextlib
import itertools
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from experiments.cli.config import ConfigError, require
from experiments.data.dataset import Batch, Dataset, evenly, rows_of
from scorekit import data
from scorekit.arguments import Count, OneOf


@contextlib.contextmanager
def reading(path: str | None = None) -> Iterator[None]:
    """Errors of data, or of files in ``config.data.path``, as a :class:`ConfigError` with the fields of a config."""
    try:
        require(path is None or "\0" not in path, "data.path", path, "a path")
        yield
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError(f"config.data: {error}") from error
    except (ValueError, OSError) as error:
        message = str(error).replace("size= makes", "config.data.image_size=… makes")
        message = re.sub("mode=('RGB')? (makes|converts)", r"config.data.image_mode=RGB \2", message)
        raise ConfigError(f"config.data{'' if path is None else f'.path={path}'}: {message}") from error


def split_folders(root: Path, train_split: str, test_split: str) -> tuple[Path, Path] | None:
    """The subfolders of the training and test set; None where there are none."""
    names = {"train_split": train_split, "test_split": test_split}
    there = [root / name for name in names.values() if (root / name).is_dir()]
    for split, name in names.items():
        present = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())) if there else ""
        fits = not there or (root / name).is_dir()
        require(fits, f"data.{split}", name, f"a folder in {root}, which has {present}")
    return (root / train_split, root / test_split) if there else None


def open_splits(root: Path, train_split: str, test_split: str, opened: Callable[[Path], Any]) -> tuple[Any, Any] | None:
    """The sources of the training and test set in folders of their own; None where there are none."""
    folders = split_folders(root, train_split, test_split)
    if folders is None:
        return None
    train, test = map(opened, folders)
    same = train.classes == test.classes
    require(same, "data.test_split", test_split, f"a folder with the classes of {train_split}")
    return train, test


class Part:
    """Some rows of a source of images, None for all, under the name of the set."""

    bins = 256

    def __init__(self, source: Any, rows: np.ndarray | None, name: str):
        self._source, self.name, self.shape = source, name, source.shape
        self.num_classes, self.classes = source.num_classes, source.classes
        self._rows = np.arange(len(source)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._source[int(self._rows[index])]

    def headers(self, most: int) -> list[tuple[int, int, str]]:
        """Width, height and mode of at most so many images, evenly spaced, as in their files; without damaged ones."""
        headers = (self._source.header(int(row)) for row in self._rows[evenly(len(self), most)])
        return [header for header in headers if header is not None]


class Arrays:
    """A source of images in memory, ``x`` (N, H, W, C) with classes ``label`` (N,) and further ``fields``."""

    def __init__(
        self,
        name: str,
        bins: int,
        x: np.ndarray,
        label: np.ndarray,
        num_classes: int,
        classes: tuple[str, ...] = (),
        **fields: Sequence,
    ):
        self.name, self.bins, self.num_classes, self.classes, self.shape = name, bins, num_classes, classes, x.shape[1:]
        self._fields = {"x": x, "label": label, **fields}

    def __len__(self) -> int:
        return len(self._fields["x"])

    def __getitems__(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        return [{name: values[row] for name, values in self._fields.items()} for row in rows]


def read_rows(source: Any, rows: np.ndarray, workers: int, on_error: str, what: str) -> dict[str, Any]:
    """These rows of a source in memory; ``what`` they are, for a warning of those that cannot be read."""
    broken = []

    def read(row: int) -> Mapping[str, Any] | None:
        try:
            return source[row]
        except ValueError as error:
            if on_error == "raise":
                raise ValueError(f"{error}; config.data.on_error=skip leaves such {what} out") from error
            broken.append(str(error))
            return None

    if hasattr(source, "__getitems__"):
        examples = source.__getitems__(rows.tolist())
    else:
        with concurrent.futures.ThreadPoolExecutor(max(1, workers)) as pool:
            examples = [example for example in pool.map(read, rows.tolist()) if example is not None]
    if broken:
        first = "; ".join(sorted(broken)[:3])
        warnings.warn(f"{len(broken)} {what} could not be read and were left out: {first}", stacklevel=2)
    if not examples:
        raise ValueError(f"none of the {what} can be read: {min(broken)}")
    label = np.array([example["label"] for example in examples], np.int32)
    texts = [name for name in ("caption", "subject") if name in examples[0]]
    listed = {name: [example[name] for example in examples] for name in texts}
    return {"x": np.stack([example["x"] for example in examples]), "label": label, **listed}


@dataclass(kw_only=True, eq=False)
class Streaming(Dataset):
    """A set whose training examples are read as they are needed, or drawn from memory.

    Args:
      workers: threads that read ahead.
      on_error: "raise" ends the run at an example that cannot be read, "skip" leaves it out.

    Attributes:
      sources: of the training and of the test examples.
    """

    workers: Annotated[int, Count(0, 1024)] = 4
    on_error: Annotated[Literal["raise", "skip"], OneOf("raise", "skip")] = "raise"
    sources: tuple[Any, Any] = field(init=False, repr=False)

    def stored(self) -> Batch:
        """The training examples in memory that batches are drawn from, where the set does not stream."""
        raise NotImplementedError

    def streamed_example(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an example of the source that a stream reads."""
        return dict(example)

    def finished(self, part: Batch, seed: int, step: int, first_row: int) -> Batch:
        """Rows of a batch, the first of which is ``first_row``, as the network is trained on them."""
        raise NotImplementedError

    @property
    def examples(self) -> int:
        """The number of training examples; read in memory, of those that can be read."""
        return len(self.sources[0]) if self.streaming or self.on_error == "raise" else len(self.stored()["x"])

    def held_out(self):
        return len(self.sources[1])

    def batch(self, seed, step, size):
        with contextlib.closing(self._batches(seed, step, size, 0, 1, workers=0)) as batches:  # reads none ahead
            return next(batches)

    def batches(self, seed, first_step, size, process_index=0, process_count=1):
        data.local_rows(size, process_index, process_count)  # validates them before the first batch
        return self._batches(seed, first_step, size, process_index, process_count, self.workers)

    def _batches(self, seed, first_step, size, process_index, process_count, workers) -> Generator[Batch, None, None]:
        rows, steps = data.local_rows(size, process_index, process_count), itertools.count(first_step)
        if not self.streaming:
            for step in steps:
                part = data.batch_at(self.stored(), seed=seed, step=step, batch_size=size)
                yield self.finished(rows_of(part, rows), seed, step, rows.start)
        options = {"process_index": process_index, "process_count": process_count, "workers": workers}
        with data.stream(
            self.sources[0],
            transform=self.streamed_example,
            on_error=self.on_error,
            seed=seed,
            batch_size=size,
            start=first_step * size,
            **options,
        ) as parts:
            for step in steps:
                try:
                    part = next(parts)
                except ValueError as error:
                    with reading():
                        raise ValueError(f"{error}; config.data.on_error=skip replaces such examples") from error
                yield self.finished(part, seed, step, rows.start)

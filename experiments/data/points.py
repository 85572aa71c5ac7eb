"""Points of a known density, and a user's own numbers: the rows of a table in a CSV or NPZ file."""

import csv
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import require
from experiments.data.dataset import Dataset, evenly, held_out_of, keep_not_finite, moments, rows_of
from experiments.data.display import Points, Preview, Scorer
from experiments.data.image_files import reading
from scorekit import data, densities, metrics
from scorekit.io import read_arrays, read_file
from scorekit.typing import Array

LEAST, HELD_OUT = 20, 2000
"""Fewest rows of a table, and most that are held out."""
_BYTES = 2**30
_COLUMNS = "columns"


def distances_to(test: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
    """The distances of points to a test set ``(N, D)``."""
    key = jax.random.key(0)

    @jax.jit
    def compare(x, test):
        return metrics.energy_distance(test, x), metrics.sliced_wasserstein(key, test, x)

    return lambda x: dict(zip(("energy distance", "sliced Wasserstein"), map(float, compare(x, test)), strict=True))


class _Rows(Dataset):
    """What both kinds share: vectors without places, of which a model sees the stored values."""

    min_samples = 2  # energy distance

    @classmethod
    def spatial_axes(cls, config):
        return 0

    @classmethod
    def check(cls, config):
        super().check(config)
        latents = config.data.get("latents")
        require(latents is None, "data.latents", latents, "None for points and tables")

    def to_model(self, x):
        return jnp.asarray(x)


class Ring(_Rows):
    """Eight Gaussians on a circle; the class is the component. ``density`` is the exact density."""

    def __init__(self, config):
        self.density, self._unlabelled = densities.ring(), self.unlabelled(config)
        self.name, self.shape, self.num_classes = "ring of 8 Gaussians", (2,), 1 if self._unlabelled else 8
        self.examples = None
        self._sample = jax.jit(self.density.sample_with_labels, static_argnums=1)
        self.train, self.test = (self._points(jax.random.key(i), 2000) for i in (1, 2))

    def _points(self, key, n):
        x, label = self._sample(key, (n,))
        return {"x": np.asarray(x), "label": np.asarray(0 * label if self._unlabelled else label, np.int32)}

    def batch(self, seed, step, size):
        return self._points(jax.random.fold_in(jax.random.key(seed), step), size)

    def from_model(self, x, conditions=None):
        return x

    def as_batch(self, samples):
        return {"x": samples}

    def view(self, samples):
        return Points(samples)

    def preview(self):
        return Preview(np.arange(2000) % self.num_classes, ["samples", "data"], self.test)

    def guidance_labels(self):
        return np.arange(1000) % self.num_classes

    def exact_bits(self):
        return None if self._unlabelled else float(self.density.component(0).entropy()) / (2 * math.log(2))

    def scorer(self):
        """The exact posterior of the class, and distances to other points of the density."""
        test, train = self.test["x"], self.train["x"]
        distances = distances_to(test)

        def accuracy(x, labels):
            if self._unlabelled:
                return {}
            found = self.density.responsibilities(jnp.asarray(x)).argmax(-1)
            return {"class accuracy": float(np.mean(np.asarray(found) == labels))}

        return Scorer(
            real={**accuracy(test, self.test["label"]), **distances(train)},
            samples=lambda x, labels: {**accuracy(x, labels), **distances(x[: len(test)])},
            caption="Class accuracy by the exact posterior; distances to 2,000 other points of the true density.",
        )


class Columns:
    """A vector: the columns of ``config.data.condition``, standardised, ``(B, K)``."""

    from_samples = False

    def __call__(self, batch: Mapping[str, Any]) -> Array:
        return jnp.asarray(batch["condition"])


class Table(_Rows):
    """Rows of the columns ``config.data.x`` of the file ``config.data.path``.

    A tenth of the rows, evenly spaced, at most :data:`HELD_OUT`, is the test set. Every column is standardised by the
    mean and standard deviation of the training set; ``from_model`` undoes it, so that samples have the units of the
    file. Pictures show the first two columns, standardised, or of a single one its empirical distribution function.

    Attributes:
      columns: names of the columns of an example.
    """

    vectors = MappingProxyType({"moments": moments, _COLUMNS: Columns})
    from_fields = (_COLUMNS,)
    image_fields = tuple(field for field in Dataset.image_fields if field != "path")
    file_fields = ("sample_rate", "channels")
    unit = "rows"

    def __init__(self, config):
        options = config.data
        path = Path(options.path).expanduser()
        with reading(config):
            if path.suffix not in READERS:
                raise ValueError(f"must be a file with the suffix {' or '.join(READERS)}")
            found = READERS[path.suffix](path)
            self._condition = _named(options.condition, "condition", found, ())
            self.columns = _named(options.x, "x", found, self._condition)
            x, condition = (_numbers(found, names) for names in (self.columns, self._condition))
            if len(x) < LEAST:
                raise ValueError(f"there must be at least {LEAST} rows, there are {len(x)}")
            held_out = evenly(len(x), min(len(x) // 10, HELD_OUT))
            kept = np.delete(np.arange(len(x)), held_out)
            (scaled, self._mean, self._std), (given, *self._of_condition) = (
                _standardised(values, kept, names)
                for values, names in ((x, self.columns), (condition, self._condition))
            )
        rows = {"x": scaled, "label": np.zeros(len(x), np.int32), **({"condition": given} if self._condition else {})}
        self.train, self.test = rows_of(rows, kept), rows_of(rows, held_out)
        self.name, self.shape, self.num_classes, self.examples = path.name, scaled.shape[1:], 1, len(kept)

    @classmethod
    def check(cls, config):
        super().check(config)
        options = config.data
        require(options.name == "table", "data.name", options.name, "table, without a suffix")
        path = options.path
        require(path is not None and "\0" not in path, "data.path", path, "set for data.name=table")
        chosen = "vector" in options and options.vector.name == _COLUMNS
        allowed = f"set with data.vector.name={_COLUMNS}, neither without the other"
        require(chosen == (options.condition is not None), "data.condition", options.condition, allowed)

    def batch(self, seed, step, size):
        return data.batch_at(self.train, seed=seed, step=step, batch_size=size)

    def from_model(self, x, conditions=None):
        return keep_not_finite(x * self._std + self._mean, x)

    def as_batch(self, samples):
        return {"x": np.asarray((samples - self._mean) / self._std, np.float32)}

    def shown_conditions(self, labels):
        mean, std = self._of_condition
        return {"condition": held_out_of(self, labels)["condition"] * std + mean} if self._condition else {}

    def view(self, samples):
        x = self.as_batch(samples)["x"]
        rank = np.argsort(np.argsort(x[:, 0])) + 1
        return Points(x[:, :2] if x.shape[1] > 1 else np.stack([x[:, 0], rank / len(x)], axis=1))

    def preview(self):
        return Preview(np.zeros(min(2000, 10 * len(self.test["x"])), np.int32), ["samples", "data"], self.test)

    def guidance_labels(self):
        return None

    def scorer(self):
        test, train = self.test["x"], self.train["x"][: len(self.test["x"])]
        distances = distances_to(test)
        return Scorer(
            real=distances(train),
            samples=lambda x, labels: distances(self.as_batch(x[: len(test)])["x"]),
            caption="Distances to the held-out rows, of standardised columns; of real data, from the training set.",
        )


def _named(given: str | None, field: str, found: dict[str, np.ndarray], others: tuple[str, ...]) -> tuple[str, ...]:
    """The names of columns that a field lists, by default of ``x`` all others."""
    if given is None:
        return tuple(name for name in found if name not in others) if field == "x" else ()
    names = tuple(name.strip() for name in given.split(","))
    fits = len({*names}) == len(names) and not {*names} - (found.keys() - {*others})
    allowed = f"some of the columns {', '.join(name for name in found if name not in others)}, each once"
    require(fits, f"data.{field}", given, allowed)
    return names


def _numbers(found: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """These columns, ``(N, D)`` in float64; a ``ValueError`` names the row and column of what is no finite number."""
    parts = [np.zeros((len(next(iter(found.values()))), 0))]
    for name in names:
        column = found[name].reshape(len(found[name]), -1)
        if column.dtype.kind not in "biufU":
            raise ValueError(f"column {name}: must be of numbers, it is {column.dtype}")
        try:
            values = column.astype(np.float64)
        except ValueError:  # which of them is found out one by one
            values = np.vectorize(_number, otypes=[float])(column)
        for row, i in np.argwhere(~np.isfinite(values))[:1]:
            got = str(column[row, i])
            raise ValueError(f"row {row + 1}, column {name}: must be a finite number, got {got!r}")
        parts.append(values)
    return np.concatenate(parts, axis=1)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _standardised(values: np.ndarray, kept: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Columns in float32 with mean 0 and standard deviation 1 over the rows ``kept``, and both."""
    mean, std = values[kept].mean(axis=0), values[kept].std(axis=0)
    if not np.all(std > 0):
        raise ValueError(f"one of the columns {', '.join(names)} is the same in all training rows; leave it out")
    return ((values - mean) / std).astype(np.float32), mean.astype(np.float32), std.astype(np.float32)


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file whose first row has their names, as text."""
    lines = list(csv.reader(io.StringIO(read_file(path, limit=_BYTES).decode("utf-8-sig"), newline="")))
    rows = [row for row in lines if row]
    names = [name.strip() for name in rows[0]] if rows else []
    if not names or len({*names}) < len(names) or not all(names):
        raise ValueError(f"the first row must have different names of columns, it has {', '.join(names) or 'none'}")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(names):
            raise ValueError(f"row {number}: must have {len(names)} columns, it has {len(row)}")
    return {name: np.asarray(column) for name, column in zip(names, zip(*rows[1:], strict=True), strict=False)}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays ``(N,)`` or ``(N, D)`` of an NPZ file."""
    found = read_arrays(path)
    shapes = {name: array.shape for name, array in found.items()}
    if len({shape[:1] for shape in shapes.values()}) != 1 or not all(len(s) in (1, 2) for s in shapes.values()):
        raise ValueError(f"arrays must be (N,) or (N, D) with one N, they are {shapes}")
    return found


READERS = {".csv": _read_csv, ".npz": _read_npz}
"""The files by their suffixes."""

"""Columns of CSV and NPZ files: their values, names and bounds; errors name the row and the column."""

import csv
import io
import itertools
import math
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from experiments.cli.config import require
from scorekit.io import read_arrays, read_file

_BYTES = 2**30
_STDS = (1e-30, 1e30)
"""Standard deviations of columns, whose samples are float32."""


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """The columns of a .csv or .npz file by name."""
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"must be a file with the suffix {' or '.join(READERS)}")
    return READERS[suffix](path)


def parse_bounds(text: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Bounds such as ``"-1:1,0:,:"``, one pair for each of ``size`` columns, or one for all.

    >>> parse_bounds("0:", 2)
    (array([0., 0.]), array([inf, inf]))
    """
    pairs = [part.split(":") for part in text.split(",")]
    pairs *= size if len(pairs) == 1 else 1
    ends = np.array([[_number(pair[0] or "-inf"), _number(pair[1] or "inf")] for pair in pairs if len(pair) == 2])
    fits = len(pairs) == len(ends) == size and bool(np.all(ends[:, 0] < ends[:, 1]))
    allowed = f"{size} pairs such as 0:1, 0: or :, separated by commas, or one for all columns"
    require(fits, "data.bounds", text, allowed)
    return ends[:, 0], ends[:, 1]


def entries(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The names of the entries of columns by their sizes.

    >>> entries({"a": 1, "b": 2})
    ('a', 'b_1', 'b_2')
    """
    return tuple(f"{name}_{i + 1}" if size > 1 else name for name, size in sizes.items() for i in range(size))


def inside(x: np.ndarray, lower: np.ndarray, upper: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The rows, moved off the ends of intervals; a ``ValueError`` names the row and column of one outside."""
    interval = np.isfinite(lower) & np.isfinite(upper)
    edge = 1e-6 * np.where(interval, upper - lower, 0.0)
    fits = np.where(interval, (x >= lower) & (x <= upper), (x > lower) & (x < upper))
    for row, i in np.argwhere(~fits)[:1]:
        allowed = f"within its bounds {lower[i]:g} to {upper[i]:g}"
        raise ValueError(f"row {row + 1}, column {names[i]}: must be {allowed}, got {x[row, i]:g}")
    return np.where(interval, np.clip(x, lower + edge, upper - edge), x)


def moments_of(rows: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and range of columns; a ``ValueError`` names one without scale."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, std, lowest, highest = rows.mean(0), rows.std(0), rows.min(0), rows.max(0)
    if np.any(lowest == highest):
        given = ", ".join(itertools.compress(names, lowest == highest))
        raise ValueError(f"columns that are the same in all training rows must be left out, got {given}")
    for name, value in zip(names, std, strict=True):
        if not _STDS[0] <= value <= _STDS[1]:
            allowed = "from {:g} to {:g}".format(*_STDS)
            raise ValueError(f"column {name}: must have a standard deviation {allowed}, got {value:g}; change its unit")
    return mean, std, lowest, highest


def named(argument: str, given: str, columns: Collection[str]) -> tuple[str, ...]:
    """The names of columns that an argument lists."""
    names = tuple(name.strip() for name in given.split(","))
    fits = len({*names}) == len(names) and {*names} <= {*columns}
    require(fits, f"data.{argument}", given, f"some of the columns {', '.join(columns)}, each once")
    return names


def numbers(columns: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """These columns, ``(N, D)`` in float64; a ``ValueError`` names the row and column of what is no finite number."""
    parts = [np.zeros((len(next(iter(columns.values()))), 0))]
    for name in names:
        column = columns[name].reshape(len(columns[name]), -1)
        if column.dtype.kind not in "biufU":
            raise ValueError(f"column {name}: must hold numbers, it holds {column.dtype}")
        try:
            values = column.astype(np.float64)
            if column.dtype.kind == "U":  # Python reads 1_000 as a number
                values[np.char.count(column, "_") > 0] = math.nan
        except ValueError:  # which of them is found out one by one
            values = np.vectorize(_number, otypes=[float])(column)
        for row, i in np.argwhere(~np.isfinite(values))[:1]:
            got = str(column[row, i])
            raise ValueError(f"row {row + 1}, column {name}: must be a finite number, got {got!r}")
        parts.append(values)
    return np.concatenate(parts, axis=1)


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file whose first row has their names, as text."""
    try:
        text = read_file(path, limit=_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the file must be UTF-8: {error}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        why = f"{error}; is a closing quote missing before?"
        raise ValueError(f"line {reader.line_num}: must be a line of a CSV file: {why}") from error
    names = [name.strip() for name in rows[0]] if rows else []
    if not names or len({*names}) < len(names) or not all(names):
        raise ValueError(f"the first row must have different names of columns, it has {', '.join(names) or 'none'}")
    counted = [str(i) for i in range(len(names))]  # the names that pandas gives
    if names != counted and np.all(np.isfinite([_number(name) for name in names])):
        raise ValueError(f"the first row must have names of columns, it has the numbers {', '.join(names)}")
    if len(rows) < 2:
        raise ValueError("there must be at least one row below the names, there is none")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(names):
            raise ValueError(f"row {number}: must have {len(names)} columns, it has {len(row)}")
    return {name: np.asarray(column) for name, column in zip(names, zip(*rows[1:], strict=True), strict=True)}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays ``(N,)``, ``(N, D)`` or, of sets and sequences, ``(N, T, C)`` of an NPZ file."""
    arrays = read_arrays(path)
    shapes = {name: array.shape for name, array in arrays.items()}
    if len({shape[:1] for shape in shapes.values()}) != 1 or not all(len(s) in (1, 2, 3) for s in shapes.values()):
        raise ValueError(f"arrays must be (N,), (N, D) or (N, T, C) with one N, they are {shapes}")
    return arrays


READERS = {".csv": _read_csv, ".npz": _read_npz}
"""The files by their suffixes."""

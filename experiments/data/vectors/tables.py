"""A user's own numbers: the rows of a table in a CSV or NPZ file."""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError, require
from experiments.cli.fields import Text
from experiments.data.dataset import OfField, divided, held_out_of, rows_of
from experiments.data.display import Points, Preview, Scorer
from experiments.data.finite import keep_not_finite
from experiments.data.vectors.columns import entries, inside, moments_of, named, numbers, parse_bounds, read_columns
from experiments.data.vectors.points import Vectors, distances_to
from experiments.data.vectors.priors import Prior, check_support, prior_of, support
from scorekit import data, densities
from scorekit.arguments import Between
from scorekit.typing import Array, ArrayLike

LEAST, HELD_OUT = 20, 2000
"""Fewest rows of a table, and most that are held out."""


class Columns(OfField):
    """A vector: the columns of ``config.data.condition``, standardised, ``(B, K)``."""

    field = "condition"


class Sequence(Columns):
    """A map: the array ``(N, T, C)`` of ``config.data.condition``, a sequence, standardised."""


class Elements(Columns):
    """Tokens: the array ``(N, T, C)`` of ``config.data.condition``, a set, standardised.

    The booleans ``(N, T)`` of the same name with ``_mask``, if the file has them, say which elements there are.
    """

    def present(self, batch: Mapping[str, Any]) -> Array:
        """The elements that each set has, ``(B, T)``."""
        return jnp.asarray(batch["present"])


class Statistics(NamedTuple):
    """The scales of a training table, which belong to the weights: columns of data, unconstrained, and of conditions.

    Attributes:
      lower, upper: bounds of the data.
      mean, std: of the data, unconstrained.
      center, scale: mean and standard deviation of the conditions.
      lowest, highest: range of the conditions.
    """

    lower: np.ndarray
    upper: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @property
    def bounds(self) -> densities.Bounds:
        """The bijections of the data."""
        return densities.bounds(self.lower, self.upper)

    def standardise(self, x: ArrayLike) -> np.ndarray:
        """Data as the network receives them, in float64 (``bounds`` has float32): years lie close to each other."""
        return (_unconstrained(x, self.lower, self.upper) - self.mean) / self.std


def _unconstrained(x: ArrayLike, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    x, low, high = np.asarray(x, np.float64), np.isfinite(lower), np.isfinite(upper)
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite at a bound, NaN beyond
        below, above = np.log(np.where(low, x - lower, 1.0)), np.log(np.where(high, upper - x, 1.0))
    return np.where(low | high, 0.0, x) + below - above


READERS = {None: (), "columns": ("vector.name=columns",), "array": ("tokens.name=set", "map.name=sequence")}
"""The conditions of a network that read each kind of condition of a table."""


class Table(Vectors):
    """Rows of a table in a file, as vectors of some of its columns.

    A part of the rows, evenly spaced, is the test set. Every column is standardised by the mean and standard deviation
    of the training set, on the real line where it has bounds; ``from_model`` undoes it, so that samples have the units
    of the file. Pictures show the first two columns, standardised, or of a single one its empirical distribution
    function.

    Args:
      path: a .csv or .npz file.
      x: names of the columns that are the data, separated by commas; None is all that are no condition.
      condition: names of columns (N,) or (N, K) that are the condition, or the name of one array (N, T, C), a set or a
        sequence, which is (N, T) where the file has its mask; None is no condition.
      bounds: a pair such as "-1:1", "0:" or ":" for each column of ``x``, or one for all: the columns are mapped to the
        real line; None is the support of the prior, without one no bounds.
      prior: distribution of ``x`` as "module:name": a density of scorekit, a distribution of NumPyro, any object with
        sample(key, shape) and log_prob, or a function that returns one; None where it is unknown.
      validation: fraction of the rows that is held out; None is a tenth, at most 2000.

    Attributes:
      columns: names of the columns of an example.
      entries: names of its entries; of an array with several columns with their numbers.
      condition: names of the columns of the condition.
      condition_kind: "columns", "array", or None without a condition.
      statistics: bounds, means, standard deviations and ranges.
      prior: distribution of the examples without their conditions, where it is known.
    """

    vectors = ("moments", "columns")
    tokens = ("set",)
    maps = ("sequence",)
    from_fields = ("columns", "set", "sequence")
    unit, num_classes, labelled = "rows", 1, False
    condition: tuple[str, ...] = ()
    condition_kind: str | None = None
    prior: Prior | None = None

    def __init__(
        self,
        *,
        path: Annotated[str, Text("a .csv or .npz file")],
        x: Annotated[str, Text("names of columns")] | None = None,
        condition: Annotated[str, Text("names of columns")] | None = None,
        bounds: Annotated[str, Text("bounds of columns")] | None = None,
        prior: Annotated[str, Text("module:name")] | None = None,
        validation: Annotated[float, Between(0, 1, "both")] | None = None,
    ):
        self.name = Path(path).name
        try:
            columns = read_columns(Path(path).expanduser())
        except (ValueError, OSError) as error:
            raise ConfigError(f"config.data.path={path}: {error}") from error
        self.prior = None if prior is None else prior_of(prior)
        self.fill(columns, x, condition, bounds, validation)

    def fill(
        self, columns: dict[str, np.ndarray], x: str | None, condition: str | None, bounds: str | None, validation: Any
    ) -> None:
        """Sets everything from columns by name and the arguments of the class."""
        self.condition = named("condition", condition, columns) if condition else ()
        apart = {*self.condition, *(f"{name}_mask" for name in self.condition)}
        rest = tuple(name for name in columns if name not in apart)
        require(bool(rest), "data.condition", condition, "a part of the columns: the others are the data")
        self.columns = named("x", x, rest) if x else rest
        values = numbers(columns, self.columns)
        total = len(values)
        if total < LEAST:
            raise ValueError(f"there must be at least {LEAST} rows, there are {total}")
        number = min(total // 10, HELD_OUT) if validation is None else round(validation * total)
        require(2 <= number <= total - 2, "data.validation", validation, f"two of {total} rows at least, and not all")
        kept, held_out = divided(total, number)
        arrays = [name for name in self.condition if columns[name].ndim == 3 or f"{name}_mask" in columns]
        one = not arrays or len(self.condition) == 1
        require(one, "data.condition", condition, f"columns, or the name of one array, as {', '.join(arrays)}")
        if self.condition:
            self.condition_kind = "array" if arrays else "columns"
        given, present = self._conditions(columns)
        sizes = {name: math.prod(array.shape[1:]) for name, array in columns.items()}
        self.entries = entries({name: sizes[name] for name in self.columns})
        if self.prior is not None:
            check_support(self.prior, values, self.entries)
        ends = support(self.prior, values.shape[1]) if bounds is None else parse_bounds(bounds, values.shape[1])
        self._u = _unconstrained(inside(values, *ends, self.entries), *ends)
        of_x = moments_of(self._u[kept], self.entries)
        if present is None:
            self.condition_entries = entries({name: sizes[name] for name in self.condition})
            of_condition = moments_of(given[kept], self.condition_entries)
        else:
            of_condition = moments_of(given[kept][present[kept]], entries({arrays[0]: given.shape[-1]}))
        self.shape, self.examples = self._u.shape[1:], len(kept)
        self._given, self._rows = (given, present), (kept, held_out)
        self.use(Statistics(*ends, *of_x[:2], *of_condition))

    def _conditions(self, columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """The conditions in float64, and of an array the elements that there are, ``(N, T)``."""
        if self.condition_kind != "array":
            apart = self.condition_entries and {*self.condition_entries} <= columns.keys()  # an array as columns of CSV
            return numbers(columns, self.condition_entries if apart else self.condition), None
        (name,) = self.condition
        array = np.asarray(columns[name])
        array = array[..., None] if array.ndim == 2 else array
        if array.ndim != 3:
            raise ValueError(f"{name} must be an array (N, T, C), it has shape {array.shape}")
        shape = array.shape
        present = np.asarray(columns.get(f"{name}_mask", np.ones(shape[:2], bool)))
        if present.shape != shape[:2] or not np.all(np.isin(present, (0, 1))):
            allowed = f"of booleans, or of 0 and 1, {shape[:2]}"
            raise ValueError(f"{name} must have a mask {name}_mask {allowed}, its shape is {present.shape}")
        present = present.astype(bool)
        return numbers({name: np.where(present[..., None], array, 0.0)}, (name,)).reshape(shape), present

    def use(self, statistics: Statistics) -> None:
        """Standardises the table by these statistics, such as those that a model was trained with."""
        self.statistics = statistics
        scaled = np.asarray((self._u - statistics.mean) / statistics.std, np.float32)
        rows = {"x": scaled, "label": np.zeros(len(scaled), np.int32), **self._standardised(*self._given)}
        self.train, self.test = (rows_of(rows, part) for part in self._rows)

    def _standardised(self, condition: np.ndarray, present: np.ndarray | None) -> dict[str, np.ndarray]:
        """The fields of a batch with the condition; none without one."""
        scaled = np.asarray((condition - self.statistics.center) / self.statistics.scale, np.float32)
        rows = {"condition": scaled} if self.condition else {}
        return rows if present is None else {**rows, "present": present}

    def observed(self, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Observations by the names of the columns of the condition, as a batch that conditions are computed from.

        Raises a ``ValueError`` for other columns or widths; warns of observations outside the training range.
        """
        ways = dict.fromkeys((self.condition, self.condition_entries or self.condition))
        if not any({*names} <= given.keys() for names in ways):
            allowed, missing = " or ".join(map(", ".join, ways)), [name for name in self.condition if name not in given]
            raise ValueError(f"observation must have the columns {allowed}, it has no {missing[0]}")
        names = (*self.condition, *self.condition_entries, *(f"{name}_mask" for name in self.condition))
        columns = {name: np.asarray(value) for name, value in given.items() if name in names}
        shapes = {name: value.shape for name, value in columns.items()}
        rows = {shape[:1] for shape in shapes.values()}
        if len(rows) > 1 or not rows.isdisjoint({(), (0,)}):
            raise ValueError(f"observation must have one or more rows, as many in each column, got shapes {shapes}")
        condition, present = self._conditions(columns)
        width = len(self.statistics.center)
        if condition.shape[-1] != width:
            words = f"{width} columns of {', '.join(self.condition)}, got shape {condition.shape}"
            raise ValueError(f"observation must have {words}")
        self._warn(condition, present)
        blank = {"x": np.zeros((len(condition), *self.shape), np.float32), "label": np.zeros(len(condition), np.int32)}
        return {**blank, **self._standardised(condition, present)}

    def _warn(self, condition: np.ndarray, present: np.ndarray | None) -> None:
        """Warns of observations outside the range of the training conditions, with their distance."""
        scales = self.statistics
        beyond = np.maximum(scales.lowest - condition, condition - scales.highest) / scales.scale
        if present is not None:
            beyond = np.where(present[..., None], beyond, 0.0).max(1)
        for row in np.flatnonzero(beyond.max(1) > 0)[:5]:
            entry, names = int(beyond[row].argmax()), ", ".join(self.condition)
            warnings.warn(
                f"observation {row + 1}: entry {entry + 1} of {names} is {beyond[row, entry]:.2g} standard deviations "
                "outside the range of the training conditions; the posterior there is an extrapolation",
                stacklevel=2,
            )

    def batch(self, seed, step, size):
        return data.batch_at(self.train, seed=seed, step=step, batch_size=size)

    def from_model(self, x, conditions=None):
        scales = self.statistics
        return keep_not_finite(scales.bounds.from_unconstrained(x * scales.std + scales.mean), x)

    def log_det(self, samples: ArrayLike) -> Array:
        """``log |d standardised / d sample|``, which turns the log-density of a model into one of the samples."""
        scales = self.statistics
        return scales.bounds.log_det(jnp.asarray(samples, float)) - np.log(scales.std).sum()

    def as_batch(self, samples):
        return {"x": np.asarray(self.statistics.standardise(samples), np.float32)}

    def conditions_of(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The conditions of some rows in the units of the table, with the elements that there are of sets."""
        if not self.condition:
            return {}
        condition = rows["condition"] * self.statistics.scale + self.statistics.center
        return {"condition": condition, **{name: rows[name] for name in ("present",) if name in rows}}

    def shown_conditions(self, labels):
        return self.conditions_of(held_out_of(self, labels))

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

    def check_conditions(self, chosen):
        fitting, kind = READERS[self.condition_kind], self.condition_kind or "none"
        given = [f"{section}.name={name}" for section, name in chosen.items() if name in Table.from_fields]
        if len(given) != bool(fitting) or not {*given} <= {*fitting}:
            allowed = " or ".join(fitting) or "none of columns, set and sequence"
            words, got = f"{self.name}, whose condition is of kind {kind}", " and ".join(given) or "none"
            raise ConfigError(f"config.conditions: must have {allowed} for {words}, got {got}")

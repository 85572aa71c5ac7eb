"""A user's own numbers: the rows of a table in a CSV or NPZ file."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, require
from experiments.data.dataset import Dataset, evenly, held_out_of, keep_not_finite, rows_of
from experiments.data.display import Points, Preview, Scorer
from experiments.data.image_files import reading
from experiments.data.vectors.columns import (
    elements_of,
    entries,
    inside,
    moments_of,
    named,
    numbers,
    parse_bounds,
    read_columns,
)
from experiments.data.vectors.points import Vectors, distances_to
from experiments.data.vectors.priors import Prior, check_support, prior_of, support
from scorekit import data, densities
from scorekit.typing import Array, ArrayLike

LEAST, HELD_OUT = 20, 2000
"""Fewest rows of a table, and most that are held out."""
_COLUMNS = "columns"


class Columns:
    """A vector: the columns of ``config.data.condition``, standardised, ``(B, K)``."""

    from_samples = False

    def __call__(self, batch: Mapping[str, Any]) -> Array:
        return jnp.asarray(batch["condition"])


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
        x = np.asarray(x, np.float64)
        low, high = np.isfinite(self.lower), np.isfinite(self.upper)
        with np.errstate(divide="ignore", invalid="ignore"):  # infinite at a bound, NaN beyond
            below, above = np.log(np.where(low, x - self.lower, 1.0)), np.log(np.where(high, self.upper - x, 1.0))
        return (np.where(low | high, 0.0, x) + below - above - self.mean) / self.std


class Table(Vectors):
    """Rows of the columns ``config.data.x`` of the file ``config.data.path``.

    A tenth of the rows, evenly spaced, at most :data:`HELD_OUT`, is the test set, or ``config.data.validation`` of
    them. Columns with ``config.data.bounds`` are mapped to the real line. Every column is standardised by the mean and
    standard deviation of the training set; ``from_model`` undoes it, so that samples have the units of the
    file. Pictures show the first two columns, standardised, or of a single one its empirical distribution function.

    Attributes:
      columns: names of the columns of an example.
      entries: names of its entries; of an array with several columns with their numbers.
      statistics: bounds, means, standard deviations and ranges.
      prior: distribution of the examples without their conditions, where it is known.
    """

    vectors = ("moments", _COLUMNS)
    tokens = ("set",)
    maps = ("sequence",)
    from_fields = (_COLUMNS, "set", "sequence")
    image_fields = tuple(field for field in Dataset.image_fields if field != "path")
    file_fields = ("sample_rate", "channels", "simulator", "simulations")
    unit = "rows"
    prior: Prior | None = None

    def __init__(self, config):
        options = config.data
        with reading(config):
            found = self._read(config)
            self._given = named(options.condition or self.default_condition, "condition", found, ())
            masks = tuple(f"{name}_mask" for name in self._given if f"{name}_mask" in found)
            self.columns = named(options.x, "x", found, (*self._given, *masks))
            x, self.entries = numbers(found, self.columns), entries(found, self.columns)
            if len(x) < LEAST:
                raise ValueError(f"there must be at least {LEAST} rows, there are {len(x)}")
            share = options.validation
            number = min(len(x) // 10, HELD_OUT) if share is None else round(share * len(x))
            require(2 <= number <= len(x) - 2, "data.validation", share, f"two of {len(x)} rows at least, and not all")
            held_out = evenly(len(x), number)
            kept = np.delete(np.arange(len(x)), held_out)
            self._is_array, self._mask = _is_array(config), masks[0] if masks else None
            condition, present = self._conditions(found)
            if options.prior is not None:
                self.prior = prior_of(config)
                check_support(self.prior, x, self.entries)
            lower, upper = self._bounds(options.bounds, x.shape[1])
            x = inside(x, lower, upper, self.entries)
            self.statistics = Statistics(lower, upper, *(np.zeros(x.shape[1]), np.ones(x.shape[1])), *[np.zeros(0)] * 4)
            self._u = self.statistics.standardise(x)
            elements = {name: condition.reshape(-1, condition.shape[-1]) for name in self._given}
            given = entries(elements if self._is_array else found, self._given)
            self.condition_entries = () if self._is_array else given
            (mean, std), of_condition = (
                moments_of(values, kept, names, there)
                for values, names, there in ((self._u, self.entries, None), (condition, given, present))
            )
            rows = elements_of(condition[kept], None if present is None else present[kept])
            ends = (rows.min(0), rows.max(0)) if self._given else (np.zeros(0),) * 2
            self._condition, self._present, self._rows = condition, present, (kept, held_out)
            self.use(Statistics(lower, upper, mean, std, *of_condition, *ends))
        self.shape, self.num_classes, self.examples = self._u.shape[1:], 1, len(kept)

    def _read(self, config) -> dict[str, np.ndarray]:
        """The columns by name."""
        path = Path(config.data.path).expanduser()
        self.name = path.name
        return read_columns(path)

    def _bounds(self, given: str | None, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The bounds of ``config.data.bounds``, by default the support of the prior."""
        if given is not None:
            return parse_bounds(given, size)
        return support(self.prior, size)

    def _conditions(self, found: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """The conditions in float64, and which elements of sets there are, True for all but of sets."""
        if not self._is_array:
            apart = self.condition_entries and {*self.condition_entries} <= found.keys()  # an array as columns of a CSV
            return numbers(found, self.condition_entries if apart else self._given), None
        (name,) = self._given
        array = np.asarray(found[name])
        if array.ndim == 2:
            array = array[..., None]
        require(array.ndim == 3, "data.condition", name, f"an array (N, T, C), it has shape {array.shape}")
        shape, mask = array.shape, found.get(self._mask or "")
        present = np.ones(shape[:2], bool) if mask is None else np.asarray(mask)
        booleans = present.dtype.kind in "biuf" and bool(np.all((present == 0) | (present == 1)))
        require(booleans, "data.condition", name, f"with a mask {self._mask} of booleans, or of 0 and 1")
        present = present.astype(bool)
        require(present.shape == shape[:2], "data.condition", name, f"of the shape of its mask, {present.shape}")
        values = np.where(present[..., None], array, 0.0)
        return numbers({name: values}, (name,)).reshape(shape), present

    def use(self, statistics: Statistics) -> None:
        """Standardises the table by these statistics, such as those that a model was trained with."""
        self.statistics = statistics
        scaled = np.asarray((self._u - statistics.mean) / statistics.std, np.float32)
        rows = {"x": scaled, "label": np.zeros(len(scaled), np.int32)}
        if self._given:
            rows |= self._standardised(self._condition, self._present)
        self.train, self.test = (rows_of(rows, part) for part in self._rows)

    def _standardised(self, condition: np.ndarray, present: np.ndarray | None) -> dict[str, np.ndarray]:
        found = self.statistics
        rows = {"condition": np.asarray((condition - found.center) / found.scale, np.float32)}
        return rows if present is None else {**rows, "present": present}

    def observed(self, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Observations by the names of the columns of the condition, as a batch that conditions are computed from.

        Raises a ``ValueError`` for other columns or widths; warns of observations outside the training range.
        """
        missing = [name for name in self._given if name not in found]
        apart = [name for name in self.condition_entries if name not in found]
        if missing and (apart or self._is_array):
            allowed = " or ".join(dict.fromkeys(map(", ".join, (self._given, self.condition_entries or self._given))))
            raise ValueError(f"observation must have the columns {allowed}, it has no {missing[0]}")
        names = (*self._given, *self.condition_entries, self._mask)
        found = {name: np.asarray(value) for name, value in found.items() if name in names}
        shapes = {name: value.shape for name, value in found.items()}
        rows = {shape[:1] for shape in shapes.values()}
        if len(rows) > 1 or not rows.isdisjoint({(), (0,)}):
            raise ValueError(f"observation must have one or more rows, as many in each column, got shapes {shapes}")
        condition, present = self._conditions(found)
        width = self.statistics.center.shape[0]
        if condition.shape[-1] != width:
            raise ValueError(
                f"observation must have {width} columns of {', '.join(self._given)}, got shape {condition.shape}"
            )
        self._warn(condition, present)
        rows = self._standardised(condition, present)
        blank = {"x": np.zeros((len(condition), *self.shape), np.float32), "label": np.zeros(len(condition), np.int32)}
        return {**blank, **rows}

    def _warn(self, condition: np.ndarray, present: np.ndarray | None) -> None:
        """Warns of observations outside the range of the training conditions, with their distance."""
        found = self.statistics
        beyond = np.maximum(found.lowest - condition, condition - found.highest) / found.scale
        if present is not None:
            beyond = np.where(present[..., None], beyond, 0.0).max(1)
        for row in np.flatnonzero(beyond.max(1) > 0)[:5]:
            entry, names = int(beyond[row].argmax()), ", ".join(self._given)
            warnings.warn(
                f"observation {row + 1}: entry {entry + 1} of {names} is {beyond[row, entry]:.2g} standard deviations "
                "outside the range of the training conditions; the posterior there is an extrapolation",
                stacklevel=2,
            )

    @classmethod
    def check(cls, config):
        super().check(config)
        options = config.data
        cls.check_source(options)
        chosen = conditions_chosen(options)
        names = f"data.vector.name={_COLUMNS}, data.tokens.name=set or data.map.name=sequence"
        require(len(chosen) < 2, "data.condition", options.condition, f"one condition: one of {names}")
        with_condition = cls.default_condition is not None or options.condition is not None
        allowed = f"set with {names}, neither without the other"
        require(bool(chosen) == with_condition, "data.condition", options.condition, allowed)
        one = not _is_array(config) or "," not in (options.condition or "")
        require(one, "data.condition", options.condition, "the name of one array for a set or a sequence")

    default_condition: str | None = None

    @classmethod
    def check_source(cls, options: Config) -> None:
        """Validates the name and path of the data."""
        require(options.name == "table", "data.name", options.name, "table, without a suffix")
        path = options.path
        require(path is not None and "\0" not in path, "data.path", path, "set for data.name=table")

    def batch(self, seed, step, size):
        return data.batch_at(self.train, seed=seed, step=step, batch_size=size)

    def from_model(self, x, conditions=None):
        found = self.statistics
        return keep_not_finite(found.bounds.from_unconstrained(x * found.std + found.mean), x)

    def log_det(self, samples: ArrayLike) -> Array:
        """``log |d standardised / d sample|``, which turns the log-density of a model into one of the samples."""
        found = self.statistics
        return found.bounds.log_det(jnp.asarray(samples, float)) - np.log(found.std).sum()

    def as_batch(self, samples):
        return {"x": np.asarray(self.statistics.standardise(samples), np.float32)}

    def conditions_of(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The conditions of some rows in the units of the table."""
        if not self._given:
            return {}
        found = self.statistics
        return {**rows, "condition": rows["condition"] * found.scale + found.center}

    def shown_conditions(self, labels):
        found = self.conditions_of(held_out_of(self, labels))
        return {name: found[name] for name in ("condition", "present") if name in found}

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


def conditions_chosen(options: Config) -> list[str]:
    """The sections of ``config.data`` that read ``condition``."""
    names = {"vector": _COLUMNS, "tokens": "set", "map": "sequence"}
    return [section for section, name in names.items() if section in options and options[section].name == name]


def _is_array(config: Config) -> bool:
    return conditions_chosen(config.data) in (["tokens"], ["map"])

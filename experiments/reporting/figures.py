"""The published figures of the project: the file in which each stands once, and the values that its commands write.

A figure is a table of ``experiments/figures.toml``, with the fields of :class:`Figure`::

    [digits]
    about = "…"
    page = "README.md"
    minutes = 4
    commands = ["python -m experiments.train --config=… --workdir=runs/digits"]
    values.accuracy = {value = 0.993, tolerance = 0.01, read = ["runs/digits/evaluation.json", "γ = 1/class accuracy"]}

``read`` is a JSON file and the way to the value in it (keys; in a list an index, or the first value of an item), or
``["printed", row, column]`` of a table that the last command prints; a fourth text stands above that table.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from experiments.cli.config import hint
from scorekit.io import read_file

FILE = Path(__file__).parents[1] / "figures.toml"
PRINTED = "printed"


class Value(NamedTuple):
    """A published value, with the digits that it is published with.

    Attributes:
      value: the value.
      tolerance: largest difference of a value that agrees.
      read: where a command writes it.
      error: its standard error, where that is published.
    """

    value: Decimal
    tolerance: Decimal
    read: list[Any]
    error: Decimal | None = None

    def agrees(self, found: float) -> bool:
        """Whether a value differs by no more than the tolerance; NaN does not."""
        return abs(found - float(self.value)) <= float(self.tolerance) + 1e-12


class Figure(NamedTuple):
    """Values that the same commands give.

    Attributes:
      about: what is measured, and what the tolerances allow for.
      page: file where the figure is published.
      minutes: CPU minutes of its own commands.
      commands: commands of Python, which write below ``runs/``.
      values: its values by name.
      after: figures whose commands run before.
    """

    about: str
    page: str
    minutes: float
    commands: list[str]
    values: dict[str, Value]
    after: tuple[str, ...] = ()


def load(path: Path) -> dict[str, Figure]:
    """The figures of a file by name."""
    found = {}
    for name, fields in tomllib.loads(path.read_text(), parse_float=Decimal).items():
        values = {key: Value(**given) for key, given in fields.pop("values").items()}
        found[name] = Figure(**fields, values=values)
    return found


def chain(figures: Mapping[str, Figure], name: str) -> list[str]:
    """The figures whose commands run for one of them, in order, each once.

    >>> one = Figure("", "", 1, [], {})
    >>> chain({"a": one, "b": one._replace(after=("a",)), "c": one._replace(after=("a", "b"))}, "c")
    ['a', 'b', 'c']
    """
    return list(dict.fromkeys([*(each for other in figures[name].after for each in chain(figures, other)), name]))


def text(figures: Mapping[str, Figure], name: str) -> str:
    """A value as pages show it, by ``figure.value``, or ``figure.value %`` in per cent.

    >>> value = Value(Decimal("0.980"), Decimal("0.01"), [], Decimal("0.005"))
    >>> text({"a": Figure("", "", 1, [], {"b": value})}, "a.b %")
    '98.0 ± 0.5 %'
    """
    path, percent, _ = name.partition(" %")
    figure, _, key = path.partition(".")
    if figure not in figures or key not in figures[figure].values:
        known = (f"{f}.{v}" for f, each in figures.items() for v in each.values)
        raise ValueError(f"{name}: is no value of {FILE.name}{hint(path, known)}")
    value, _, _, error = figures[figure].values[key]
    shown = [format(Decimal(x).scaleb(2 if percent else 0), "f") for x in (value, error) if x is not None]
    return " ± ".join(shown) + percent


def read_value(value: Value, runs: Path, printed: str) -> float:
    """The value that the commands of a figure gave; ``LookupError`` with the reason where there is none.

    Args:
      value: where it is.
      runs: folder in place of ``runs/``.
      printed: output of the last command.
    """
    source, *way = value.read
    if source == PRINTED:
        return cell(printed, *way)
    try:
        here = json.loads(read_file(runs / source.removeprefix("runs/")))
    except (OSError, ValueError) as error:
        raise LookupError(f"{source} cannot be read: {error}") from error
    for key in way:
        here = _step(here, key, source)
    if not isinstance(here, int | float):
        raise LookupError(f"{source}: {way} is no number")
    return float(here)


def _step(here: Any, key: Any, source: str) -> Any:
    try:
        return here[key]
    except (LookupError, TypeError):
        items = [each for each in here if isinstance(each, dict | list)] if isinstance(here, list) else []
    named = {next(iter(each.values() if isinstance(each, dict) else each), None): each for each in items}
    if key not in named:
        raise LookupError(f"{source} has no {key!r}{hint(key, map(str, here if isinstance(here, dict) else named))}")
    return named[key]


def cell(printed: str, row: str, column: str, above: str = "") -> float:
    """The number in a cell of a table for a terminal; of several rows of this name the first.

    >>> cell("model     error\\nsmall     0.50 ± 0.1\\nsmall, 2  0.25", "small", "error")
    0.5
    """
    span = None
    for line in printed.partition(above)[2].splitlines() if above else printed.splitlines():
        cells = [(match[0], *match.span()) for match in re.finditer(r"\S+(?: \S+)*", line)]
        if span and " ".join(words for words, *_ in cells).startswith(f"{row} "):
            inside = [words for words, start, end in cells if start < span[1] and end > span[0]]
            number = re.match(r"[-+]?[\d.]+(e[-+]?\d+)?", inside[0].replace(",", "")) if inside else None
            if number:
                return float(number[0])
        span = next(((start, end) for words, start, end in cells if words == column), span)
    raise LookupError(f"the output has no number in row {row!r} and column {column!r}")

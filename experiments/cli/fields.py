"""The fields of a config, each in one row: its default, the values that it may have, and its meaning.

A section is a table of such rows::

    FIELDS = Section(
        steps=Field(1000, Count(1), "Updates of the parameters."),
        optimizer=Field(None, OneOf("adamw", "muon"), "Which optimiser; None is adamw."),
        schedule=Choices({"cosine": "scorekit.schedules:Cosine"}, "cosine", "How much noise there is at each time."),
    )

From it come the config, its check, ``--help_config`` and the page of fields. NaN and infinities are values of no field.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ml_collections import ConfigDict, config_dict

from experiments.cli.config import Config, check_config, hint, leaves, lookup, require
from scorekit.arguments import Between, Bound, Count, Each, OneOf

POSITIVE = Between(0, open="low")
NON_NEGATIVE = Between(0)
FRACTION = Between(0, 1)
LARGEST = 2**31 - 1
"""The bound of counts that have none: the largest 32-bit integer."""


@dataclass(frozen=True)
class Text(Bound):
    """A text without a bound, or one that a separate check validates; ``what`` describes it.

    >>> Text("a folder").allows("runs/digits"), Text("a folder").allows(None)
    (True, False)
    """

    what: str
    kind = str

    def allows(self, value: Any) -> bool:
        return isinstance(value, str)

    def __str__(self) -> str:
        return "a text"

    def outside(self) -> tuple:
        return (None,)

    def inside(self) -> tuple:
        return ("a",)


class Limited(NamedTuple):
    """A field of a given config, with its allowed values: a bound, or true or false (``bool``).

    ``chosen`` is the choice whose argument it is.
    """

    path: str
    value: Any
    allowed: Bound | type
    optional: bool
    chosen: str = ""

    def check(self) -> None:
        """Raises a ``ConfigError`` that names the field, its value and what is allowed."""
        if self.value is None and self.optional:
            return
        if not isinstance(self.allowed, Bound) or isinstance(self.allowed, Text):
            require(self.value is not None, self.path, None, "set")
            return
        bound = in_config(self.allowed)
        words, near = (typed(bound), hint(self.value, bound.values)) if isinstance(bound, OneOf) else (str(bound), "")
        of = f" for {self.chosen}" if self.chosen else ""
        require(bound.allows(self.value), self.path, self.value, f"{words}{of}{near}")


class Row(NamedTuple):
    """A field ``config.<path>`` as the help shows it; of one that names a choice, ``allowed`` is empty."""

    path: str
    default: Any
    allowed: str
    meaning: str
    choices: tuple["Option", ...] = ()


class Option(NamedTuple):
    """A value that a choice may have, with the rows of its arguments."""

    name: str
    meaning: str
    arguments: tuple[Row, ...]


@dataclass(frozen=True)
class Field:
    """A row of a section.

    Attributes:
      default: the value where nothing else is said.
      allowed: bound of its values, or ``bool``.
      meaning: a description, in sentences.
      optional: whether None is allowed; a default of None is.
    """

    default: Any
    allowed: Bound | type
    meaning: str
    optional: bool = False

    def defaults(self, like: Any = None) -> Any:
        """The default; None as a placeholder of the type that other values have."""
        del like
        kind: Any = self.allowed.kind if isinstance(self.allowed, Bound) else self.allowed
        return config_dict.placeholder(kind) if self.default is None else self.default

    def but(self, default: Any) -> "Field":
        """The row with another default; None stays allowed."""
        return replace(self, default=default, optional=self.optional or self.default is None)

    def limits(self, value: Any, path: str) -> Iterator[Limited]:
        """The field itself."""
        yield Limited(path, value, self.allowed, self.optional or self.default is None)

    def rows(self, path: str) -> Iterator[Row]:
        """The row as the help shows it."""
        optional = self.optional or self.default is None
        words = typed(self.allowed) + (", or None" if optional else "")
        yield Row(path, self.default, words, " ".join(self.meaning.split()))


class Section(dict[str, Any]):
    """Fields, :class:`~experiments.cli.choices.Choices` and sections by name.

    >>> shape = Section(sides=Field(3, Count(3), "Sides of the polygon."))
    >>> shape.defaults().sides
    3
    >>> shape.check(ConfigDict({"sides": 2}))
    Traceback (most recent call last):
    experiments.cli.config.ConfigError: config.sides=2: must be an integer from 3 to 2147483647
    """

    def defaults(self, like: Config | None = None) -> Config:
        """The locked config of the defaults, with the choices of the config ``like``."""
        given = like if isinstance(like, ConfigDict) else {}
        return ConfigDict({name: one.defaults(given.get(name)) for name, one in self.items()}).lock()

    def check(self, config: Config, path: str = "") -> None:
        """Validates that a config has these fields and no others, with values of their types within their bounds."""
        check_config(config, self.defaults(config), f"{path}." if path else "")
        self.check_values(config, path)

    def check_values(self, config: Config, path: str = "") -> None:
        """Validates the values alone, of those fields that a config has; it may have others as well."""
        for field in self.limits(config, path):
            field.check()

    def read(self, values: Config) -> Config:
        """The config with these values, such as of a file, which holds no types of fields at None."""
        config = self.defaults(values)
        check_config(values, config)
        for field, value in leaves(values):
            section, _, last = field.rpartition(".")
            lookup(config, section)[last] = value
        return config

    def limits(self, config: Config, path: str = "") -> Iterator[Limited]:
        """Every field of the config that has a value of its own, with what it may be."""
        for name, one in self.items():
            if name in config:
                yield from one.limits(config[name], f"{path}.{name}" if path else name)

    def rows(self, path: str = "") -> Iterator[Row]:
        """Every field as the help shows it."""
        for name, one in self.items():
            yield from one.rows(f"{path}.{name}" if path else name)

    def but(self, *without: str, **defaults: Any) -> "Section":
        """The section without some of its fields, and with other defaults."""
        kept = {name: one for name, one in self.items() if name not in without}
        return Section({**kept, **{name: self[name].but(default) for name, default in defaults.items()}})


def fields_by(fields: Callable[[Config | None], Section]) -> Callable[[Callable], Callable]:
    """Marks the check of a program's config with its fields, for ``--help_config`` and overrides."""

    def mark(check: Callable) -> Callable:
        check.fields = fields
        return check

    return mark


# ---- words -----------------------------------------------------------------------------------------------------------


def in_config(bound: Bound) -> Bound:
    """The values of a bound that a config may have: finite numbers, and integers of 32 bits.

    >>> print(in_config(Count(1)), "|", in_config(Between(0, infinite=True)))
    an integer from 1 to 2147483647 | finite and >= 0
    """
    if isinstance(bound, Each):
        return replace(bound, item=in_config(bound.item))
    if isinstance(bound, Count) and bound.high is None:
        return replace(bound, high=LARGEST)
    return replace(bound, infinite=False) if isinstance(bound, Between) else bound


def typed(allowed: Bound | type) -> str:
    """Type and bound in a few words.

    >>> typed(Between(0, 1, "high")), typed(Count(1)), typed(Each(Between(0, open="low"), least=2)), typed(bool)
    ('float in [0, 1)', 'int >= 1', 'list of float > 0, at least 2', 'true or false')
    """
    if isinstance(allowed, Each):
        return f"list of {typed(allowed.item)}{f', at least {allowed.least}' if allowed.least else ''}"
    if isinstance(allowed, OneOf):
        return f"one of {', '.join(map(str, allowed.values))}"
    if isinstance(allowed, Text):
        return allowed.what
    if isinstance(allowed, Count):
        is_closed = allowed.high is not None
        return f"int in [{allowed.low}, {allowed.high}]" if is_closed else f"int >= {allowed.low}"
    if isinstance(allowed, Between):
        words = str(replace(allowed, infinite=True))
        return "float" if words == "a number" else f"float {words}"
    return "true or false" if allowed is bool else ""


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line.

    >>> first_sentence("A schedule, ``alpha = 1``. More of it.\\n\\nArgs: ...")
    'A schedule, ``alpha = 1``.'
    """
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[^.\s][.])\s+(?=[A-Z`])", paragraph)[0]

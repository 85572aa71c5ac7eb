"""The fields of a config, each in one row: its default, the values that it may have, and its meaning.

A section is a table of such rows::

    FIELDS = Section(
        steps=Field(1000, Count(1), "Updates of the parameters."),
        optimizer=Field(None, OneOf("adamw", "muon"), "Which optimiser; None is adamw."),
        schedule=Choices(SCHEDULES, "cosine", "How much signal and noise there is at each time."),
    )

From it come the config, its check, ``--help_config`` and the page of fields. A choice has no rows for its arguments:
their values are bounded in the annotations of the chosen function (:mod:`scorekit.arguments`), which its docstring
explains. NaN and infinities are values of no field.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

from ml_collections import ConfigDict, config_dict

from experiments.cli import config_help
from experiments.cli.config import Config, check_config, field_type, hint, require, section, sections
from scorekit.arguments import Between, Bound, Count, Each, OneOf, bounds_of

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

    def defaults(self) -> Any:
        """The default; None as a placeholder of the type that other values have."""
        kind: Any = self.allowed.kind if isinstance(self.allowed, Bound) else self.allowed
        return config_dict.placeholder(kind) if self.default is None else self.default

    def but(self, default: Any) -> "Field":
        """The row with another default; None stays allowed."""
        return replace(self, default=default, optional=self.optional or self.default is None)

    def limits(self, value: Any, path: str) -> Iterator[Limited]:
        """The field itself."""
        yield Limited(path, value, self.allowed, self.optional or self.default is None)

    def rows(self, path: str) -> Iterator[config_help.Row]:
        """The row as the help shows it."""
        optional = self.optional or self.default is None
        words = typed(self.allowed) + (", or None" if optional else "")
        yield config_help.Row(path, self.default, words, " ".join(self.meaning.split()))


@dataclass(frozen=True)
class Choices:
    """A section with a field ``name``, which chooses from a table, and one for each argument that a choice has.

    Attributes:
      table: factories by name, as :func:`experiments.cli.config.resolve` takes them.
      default: the default choice; None for a choice that may be left unset.
      meaning: a description, in sentences.
      supplied: arguments that the program passes itself, which are no fields.
      several: whether there is a section for each name in place of a field ``name``.
    """

    table: Mapping[str, Callable]
    default: str | None
    meaning: str
    supplied: tuple[str, ...] = ()
    several: bool = False

    def defaults(self) -> ConfigDict:
        """The section; fields at None are the defaults of the chosen function."""
        if self.several:
            return sections(self.table, supplied=self.supplied)
        return section(self.table, self.default, supplied=self.supplied)

    def but(self, default: str | None) -> "Choices":
        """The section with another default choice."""
        return replace(self, default=default)

    def limits(self, config: Config, path: str) -> Iterator[Limited]:
        """The fields of the functions that the config chooses."""
        if self.several:
            for name in self.table:
                yield from self._limits_of(name, config[name], f"{path}.{name}")
        else:
            yield Limited(f"{path}.name", config.name, OneOf(*self.table), self.default is None)
            if config.name in self.table:
                yield from self._limits_of(config.name, config, path, f"{path}.name={config.name}")

    def _limits_of(self, name: str, config: Config, path: str, chosen: str = "") -> Iterator[Limited]:
        for key, argument in arguments_of(self.table[name], self.supplied).items():
            yield Limited(f"{path}.{key}", config[key], argument.allowed, True, chosen)

    def rows(self, path: str) -> Iterator[config_help.Row]:
        """The field ``name`` with all choices."""
        choices = []
        for name, factory in self.table.items():
            inside = f"{path}.{name}" if self.several else path
            arguments = tuple(
                config_help.Argument(f"{inside}.{key}", found.default, typed(found.allowed), found.meaning)
                for key, found in arguments_of(factory, self.supplied).items()
            )
            choices.append(config_help.Option(name, first_sentence(inspect.getdoc(factory) or ""), arguments))
        full = path if self.several else f"{path}.name"
        yield config_help.Row(full, self.default, "", " ".join(self.meaning.split()), tuple(choices))


class Section(dict[str, Any]):
    """Fields, choices and sections by name.

    >>> shape = Section(sides=Field(3, Count(3), "Sides of the polygon."))
    >>> shape.defaults().sides
    3
    >>> shape.check(ConfigDict({"sides": 2}))
    Traceback (most recent call last):
    experiments.cli.config.ConfigError: config.sides=2: must be an integer from 3 to 2147483647
    """

    def defaults(self) -> Config:
        """The locked config of the defaults."""
        return ConfigDict({name: one.defaults() for name, one in self.items()}).lock()

    def check(self, config: Config, path: str = "") -> None:
        """Validates that a config has these fields and no others, with values of their types within their bounds."""
        check_config(config, self.defaults(), f"{path}." if path else "")
        self.check_values(config, path)

    def check_values(self, config: Config, path: str = "") -> None:
        """Validates the values alone, of those fields that a config has; it may have others as well."""
        for field in self.limits(config, path):
            field.check()

    def limits(self, config: Config, path: str = "") -> Iterator[Limited]:
        """Every field of the config that has a value of its own, with what it may be."""
        for name, one in self.items():
            if name in config:
                yield from one.limits(config[name], f"{path}.{name}" if path else name)

    def rows(self, path: str = "") -> Iterator[config_help.Row]:
        """Every field as the help shows it."""
        for name, one in self.items():
            yield from one.rows(f"{path}.{name}" if path else name)

    def but(self, *without: str, **defaults: Any) -> "Section":
        """The section without some of its fields, and with other defaults."""
        kept = {name: one for name, one in self.items() if name not in without}
        return Section({**kept, **{name: self[name].but(default) for name, default in defaults.items()}})


# ---- choices ---------------------------------------------------------------------------------------------------------


class Choice:
    """A factory for a table of choices, described by another signature and docstring.

    Args:
      factory: the function that is called, with keywords.
      like: the function or class with the docstring, and the signature where ``factory`` takes ``**values``; or the
        docstring itself. By default ``factory``.
      drop: arguments that a config does not have.
      **overrides: for an argument a narrower :class:`~scorekit.arguments.Bound`, another default, or both as a
        :class:`Field`.

    >>> half = Choice(lambda slope=1.0: slope, "A line.", slope=Field(0.5, Between(0, 1), "Its slope."))
    >>> half(), half.__doc__, bounds_of(half)["slope"].bound
    (0.5, 'A line.', Between(low=0, high=1, open='', infinite=False, scalar=False))
    """

    def __init__(self, factory: Callable, like: Any = None, *, drop: tuple[str, ...] = (), **overrides: Any):
        self.__dict__.update(getattr(factory, "__dict__", {}))
        self.factory, like = factory, factory if like is None else like
        self.__doc__ = like if isinstance(like, str) else inspect.getdoc(like)
        self.__module__ = getattr(factory if isinstance(like, str) else like, "__module__", __name__)
        own = inspect.signature(factory).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values())
        described: Any = like if takes_any else factory
        parameters, bounds = dict(inspect.signature(described).parameters), bounds_of(described)
        self.values: dict[str, Any] = {}
        self.meanings = {name: row.meaning for name, row in overrides.items() if isinstance(row, Field)}
        for name, given in overrides.items():
            before = parameters.get(name, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY))
            default = before.default if isinstance(given, Bound) else given
            if isinstance(given, Field):
                default, given = given.default, given.allowed
            if default is not before.default:
                self.values[name] = default
            if isinstance(given, Bound) and name in bounds and not is_within(given, bounds[name].bound):
                raise ValueError(f"{name} must stay {bounds[name].bound}, which {given} is not")
            annotation = Annotated[Any, given] if isinstance(given, Bound) else before.annotation
            parameters[name] = before.replace(default=default, annotation=annotation)
        kept = [each.replace(kind=each.KEYWORD_ONLY) for name, each in parameters.items() if name not in drop]
        self.__signature__ = inspect.Signature(kept)

    def __call__(self, **values: Any) -> Any:
        return self.factory(**{**self.values, **values})


def narrowed(table: Mapping[str, Callable], **bounds: Bound) -> dict[str, Callable]:
    """A table of choices with bounds of arguments by name, where they are narrower than those in the annotations."""

    def of(factory: Callable) -> dict[str, Any]:
        before = bounds_of(factory)
        fits = lambda name: name not in before or is_within(bounds[name], before[name].bound)
        return {name: bounds[name] for name in inspect.signature(factory).parameters if name in bounds and fits(name)}

    return {
        name: Choice(factory, **overrides) if (overrides := of(factory)) else factory for name, factory in table.items()
    }


def is_within(inner: Bound, outer: Bound) -> bool:
    """Whether ``outer`` allows all that ``inner`` allows, as far as the values near their ends tell.

    >>> is_within(Count(1, 3), Count(1)), is_within(Between(0), Between(0, open="low"))
    (True, False)
    """
    return all(map(outer.allows, inner.inside())) and not any(map(inner.allows, outer.outside()))


class _Described(NamedTuple):
    default: Any
    allowed: Bound | type
    meaning: str


@functools.cache
def arguments_of(factory: Callable, supplied: tuple[str, ...]) -> dict[str, _Described]:
    """The arguments of a choice that are fields; one of type float without a bound is any finite number."""
    bounds, found, meanings = bounds_of(factory), {}, getattr(factory, "meanings", {})
    for key, parameter in inspect.signature(factory).parameters.items():
        if key not in supplied and parameter.kind is not parameter.VAR_KEYWORD:
            kind = field_type(parameter)
            allowed = bounds[key].bound if key in bounds else Between() if kind is float else kind
            found[key] = _Described(parameter.default, allowed, meanings.get(key, ""))
    return found


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

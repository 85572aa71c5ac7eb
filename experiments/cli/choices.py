"""A section of a config that chooses from a table: a field ``name``, and one for each argument of the chosen factory.

Another name brings other fields: what is set keeps its value where the new factory has an argument of that name. A
field at None is the default of the factory, whose docstring explains it; its bound is in the annotation
(:mod:`scorekit.arguments`). A table may name a factory as "module:object", which is imported when it is chosen. An
argument that is annotated with another table, ``Annotated[Callable | None, SHAPES]``, is a section of its own: the
factory gets the chosen function with its fields as arguments, or None.

>>> from scorekit.arguments import Between
>>> shapes = Choices({"line": lambda slope=1.0: slope, "flat": lambda level=0.0: level}, "line", "A shape.")
>>> config = shapes.defaults()
>>> config.slope = 2.0
>>> shapes.build(ConfigDict({"shape": config}), "shape")
2.0
>>> config.name = "flat"
>>> config.to_dict()
{'level': None, 'name': 'flat'}
"""

import contextlib
import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple

from ml_collections import ConfigDict, config_dict

from experiments.cli.config import Config, choice, lookup, named_errors, require
from experiments.cli.docstrings import meanings_of
from experiments.cli.fields import Field, Limited, Option, Row, first_sentence, typed
from scorekit.arguments import Between, Bound, OneOf, bounds_of


class _Chosen(ConfigDict):
    """The section of a choice."""

    def __init__(self, *args: Any, **kwargs: Any):
        object.__setattr__(self, "_choices", None)
        super().__init__(*args, **kwargs)

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        if key == "name" and (choices := object.__getattribute__(self, "_choices")) is not None:
            choices.refit(self)

    def update(self, *other: Any, **values: Any) -> None:
        """As of any config, the name first."""
        values = {**(dict(other[0]) if other else {}), **values}
        if "name" in values:
            self["name"] = values.pop("name")
        super().update(values)

    def copy_and_resolve_references(self, visit_map=None):
        copy = super().copy_and_resolve_references(visit_map)
        object.__setattr__(copy, "_choices", self._choices)
        return copy

    def __setstate__(self, state):
        super().__setstate__(state)
        object.__setattr__(self, "_choices", state["_choices"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfigDict) and self.to_dict() == other.to_dict()

    __hash__ = None


@dataclass(frozen=True, eq=False)
class Choices(Mapping[str, Callable]):
    """A table of factories, and the section of a config that chooses one of them.

    Attributes:
      table: factories by name, or where they are, as "module:object".
      default: the default choice; None for a choice that may be left unset.
      meaning: a description, in sentences.
      supplied: arguments that the program passes itself, which are no fields.
      bounds: bounds of arguments by name, where they are narrower than those in the annotations.
      adapt: called with each object of the table; returns the factory.
      several: whether there is a section for each name in place of a field ``name``.
    """

    table: Mapping[str, Any]
    default: str | None
    meaning: str
    supplied: tuple[str, ...] = ()
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    adapt: Callable[[Any], Callable] | None = None
    several: bool = False

    @functools.cache  # noqa: B019 - tables are made once
    def __getitem__(self, name: str) -> Callable:
        found = named_object(self.table[name]) if isinstance(self.table[name], str) else self.table[name]
        return narrowed(found if self.adapt is None else self.adapt(found), self.bounds)

    __eq__, __hash__ = object.__eq__, object.__hash__  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict) -> "Choices":
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, name: object) -> bool:
        return name in self.table

    def arguments(self, name: str) -> "dict[str, Argument]":
        """The arguments of a choice that are fields."""
        return arguments_of(self[name], self.supplied)

    def defaults(self, like: Config | None = None) -> ConfigDict:
        """The section, with the choice of the section ``like``; fields at None are the defaults of the factory."""
        if self.several:
            return ConfigDict({name: ConfigDict(self._fields(name)) for name in self}).lock()
        name = like.get("name", self.default) if isinstance(like, ConfigDict) else self.default
        if like is not None and name is not None and not (isinstance(name, str) and name in self.table):
            return _Chosen(like).lock()  # the check of the name says what is allowed
        section = _Chosen({"name": config_dict.placeholder(str) if self.default is None else self.default})
        object.__setattr__(section, "_choices", self)
        section["name"] = name
        for key, inner in like.items() if isinstance(like, ConfigDict) else ():
            table = self.arguments(str(name))[key].table if isinstance(inner, ConfigDict) and key in section else None
            if table is not None:
                section[key] = table.defaults(inner)
        return section.lock()

    def _fields(self, name: str) -> dict[str, Any]:
        arguments = self.arguments(name).items()
        return {key: t.defaults() if (t := one.table) else config_dict.placeholder(one.kind) for key, one in arguments}

    def refit(self, section: ConfigDict) -> None:
        """Gives a section the fields of the choice that it names; other fields that are set keep their values."""
        if section.name is not None and section.name not in self.table:
            return  # the check says what is allowed
        fields = {} if section.name is None else self._fields(str(section.name))
        kept = {key: value for key, value in section.items() if key in fields and _is_set(value)}
        with section.unlocked():
            for key in [key for key in section if key != "name"]:
                del section[key]
            for key, value in fields.items():
                section[key] = value
        for key, value in kept.items():
            with contextlib.suppress(TypeError):  # another argument of this name
                section[key] = value

    def but(self, default: str | None) -> "Choices":
        """The section with another default choice."""
        return replace(self, default=default)

    def limits(self, config: Config, path: str) -> Iterator[Limited]:
        """The fields of the factories that the config chooses."""
        if self.several:
            for name in self:
                yield from self._limits_of(name, config[name], f"{path}.{name}")
        else:
            yield Limited(f"{path}.name", config.name, OneOf(*self.table), self.default is None)
            if config.name in self.table:
                yield from self._limits_of(config.name, config, path, f"{path}.name={config.name}")

    def _limits_of(self, name: str, config: Config, path: str, chosen: str = "") -> Iterator[Limited]:
        for key, argument in self.arguments(name).items():
            if argument.table is None:
                yield Limited(f"{path}.{key}", config[key], argument.allowed, True, chosen)
            else:
                yield from argument.table.limits(config[key], f"{path}.{key}")

    def rows(self, path: str) -> Iterator[Row]:
        """The field ``name`` with all choices; then the tables that these choose from."""
        choices, nested = [], dict[str, Choices]()
        for name, factory in self.items():
            inside = f"{path}.{name}" if self.several else path
            arguments = tuple(
                Row(f"{inside}.{key}", one.default, typed(one.allowed), one.meaning)
                if one.table is None
                else Row(f"{inside}.{key}.name", one.table.default, typed(OneOf(*one.table)), one.meaning)
                for key, one in self.arguments(name).items()
            )
            nested |= {f"{inside}.{key}": one.table for key, one in self.arguments(name).items() if one.table}
            choices.append(Option(name, first_sentence(inspect.getdoc(factory) or ""), arguments))
        full = path if self.several else f"{path}.name"
        yield Row(full, self.default, "", " ".join(self.meaning.split()), tuple(choices))
        for inner, table in nested.items():
            yield from table.rows(inner)

    def build(self, config: Config, path: str, /, **supplied: Any) -> Any:
        """Calls the factory that ``config.<path>.name`` names, with the other fields of the section as arguments.

        ``supplied`` are arguments from the program (``schedule=…``), passed only to factories that take them.
        """
        name: Any = lookup(config, path).name or self.default
        choice(f"{path}.name", name, self)
        return self.call(config, path, f"{path}.name={name}", name, **supplied)

    def call(self, config: Config, path: str, chosen: str, name: str, /, **supplied: Any) -> Any:
        """As :meth:`build`, of the factory ``name``; errors name ``chosen``, which selected it."""
        return self.bind(config, path, chosen, name)(**supplied)

    def bind(self, config: Config, path: str, chosen: str, name: str) -> Callable[..., Any]:
        """The factory ``name`` with the fields of the section as arguments, as a function of those from the program."""
        factory, values = self[name], self.values(config, path, chosen, name)
        taken = inspect.signature(factory).parameters

        def make(**supplied: Any) -> Any:
            with named_errors(path, chosen, values):
                return factory(**values, **{key: value for key, value in supplied.items() if key in taken})

        return make

    def values(self, config: Config, path: str, chosen: str, name: str) -> dict[str, Any]:
        """The arguments of the factory ``name`` that the section sets; a required one must be."""
        given = {key: value for key, value in lookup(config, path).items() if key != "name" and _is_set(value)}
        for key, argument in self.arguments(name).items():
            needed = argument.default is inspect.Parameter.empty
            require(not needed or key in given, f"{path}.{key}", None, f"set for {chosen}")
            if argument.table is not None and key in given:
                inner, part = given[key].name, f"{path}.{key}"
                values = argument.table.values(config, part, f"{part}.name={inner}", inner)
                given[key] = functools.partial(argument.table[inner], **values)
        return given


def _is_set(value: Any) -> bool:
    return value is not None and not (isinstance(value, ConfigDict) and value.name is None)


def named_object(text: str) -> Any:
    """The object of "module:object"."""
    module, _, name = text.partition(":")
    return getattr(importlib.import_module(module), name)


class Choice:
    """A factory for a table of choices, described by another signature and docstring.

    Args:
      factory: the function that is called, with keywords.
      like: the function or class with the docstring, and the signature where ``factory`` takes ``**values``; or the
        docstring itself. By default ``factory``.
      drop: arguments that a config does not have.
      **overrides: for an argument a narrower :class:`~scorekit.arguments.Bound`, another default, or both as a
        :class:`~experiments.cli.fields.Field`.

    >>> half = Choice(lambda slope=1.0: slope, "A line.", slope=Field(0.5, Between(0, 1), "Its slope."))
    >>> half(), half.__doc__, bounds_of(half)["slope"].bound
    (0.5, 'A line.', Between(low=0, high=1))
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
        rows = {name: row.meaning for name, row in overrides.items() if isinstance(row, Field) and row.meaning}
        self.meanings = {**meanings_of(factory), **({} if isinstance(like, str) else meanings_of(like)), **rows}
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


def narrowed(factory: Callable, bounds: Mapping[str, Bound]) -> Callable:
    """The factory with bounds of arguments by name, where they are narrower than those in the annotations."""
    before = bounds_of(factory)
    fits = lambda name: name not in before or is_within(bounds[name], before[name].bound)
    named = [name for name in inspect.signature(factory).parameters if name in bounds and fits(name)]
    narrower: dict[str, Any] = {name: bounds[name] for name in named}
    return Choice(factory, **narrower) if named else factory


def is_within(inner: Bound, outer: Bound) -> bool:
    """Whether ``outer`` allows all that ``inner`` allows, as far as the values near their ends tell.

    >>> is_within(Between(0, 1), Between(0)), is_within(Between(0), Between(0, open="low"))
    (True, False)
    """
    return all(map(outer.allows, inner.inside())) and not any(map(inner.allows, outer.outside()))


class Argument(NamedTuple):
    """An argument of a factory as a field: its default, its bound (or ``bool``), its type and its meaning; or a table
    that it chooses from."""

    default: Any
    allowed: Bound | type
    kind: type
    meaning: str
    table: Choices | None = None


@functools.cache
def arguments_of(factory: Callable, supplied: tuple[str, ...]) -> dict[str, Argument]:
    """The arguments that are fields; one of type float without a bound is any finite number."""
    bounds, meanings, arguments = bounds_of(factory), meanings_of(factory), {}
    for key, parameter in inspect.signature(factory).parameters.items():
        if key not in supplied and parameter.kind is not parameter.VAR_KEYWORD:
            tables = [part for part in _metadata(parameter) if isinstance(part, Choices)]
            kind = ConfigDict if tables else _type(parameter)
            allowed = bounds[key].bound if key in bounds else Between() if kind is float else kind
            arguments[key] = Argument(parameter.default, allowed, kind, meanings.get(key, ""), *tables)
    return arguments


def _metadata(parameter: inspect.Parameter) -> list[Any]:
    parts = (parameter.annotation, *typing.get_args(parameter.annotation))
    return [one for part in parts for one in getattr(part, "__metadata__", ())]


def _type(parameter: inspect.Parameter) -> type:
    """The type of the field of an argument, from its bound, else from its annotation or default."""
    named = {"int": int, "bool": bool, "str": str, "tuple": tuple}
    bounds = [bound for bound in _metadata(parameter) if hasattr(bound, "kind")]
    if bounds:
        return bounds[0].kind
    annotation = getattr(parameter.annotation, "__name__", str(parameter.annotation))
    default = type(parameter.default)
    return named.get(annotation.removesuffix(" | None"), default if default in (bool, str, tuple) else float)

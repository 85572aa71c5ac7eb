"""Bounds of arguments: declared in the annotation, checked when the function is called.

A bound is metadata of ``Annotated``; one that is used more than once is a named alias::

    @checked
    def shrink(x: Array, rate: Fraction, steps: PositiveInt = 1) -> Array: ...

:func:`checked` reads the annotations of a function once, :func:`~scorekit.trees.pytree_dataclass` the annotations of a
class; a ``Literal`` is a bound as well. Concrete values are checked, every element of an array. A tracer passes a
:class:`Between` and no other bound, since counts and names decide shapes and code. Defaults are not checked by the
call. Relations between arguments stay in the function.

Arguments annotated :class:`~scorekit.typing.Schedule`, :class:`~scorekit.typing.Solver` or ``Key`` are checked to be
objects of that kind: not a name, a class or a seed. Arguments annotated ``Callable`` are checked to be functions.
"""

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeAlias, TypeVar, Union, get_args, get_origin

from scorekit.arguments._bounds import Between, Bound, Count, Each, OneOf
from scorekit.arguments._kinds import KINDS, check_function, check_kind
from scorekit.typing import Number

__all__ = [
    "AboveZero",
    "AboveZeroScalar",
    "BelowOne",
    "BelowOneScalar",
    "Between",
    "Bound",
    "Count",
    "Each",
    "Finite",
    "FiniteScalar",
    "Fraction",
    "FractionScalar",
    "NonNegative",
    "NonNegativeInt",
    "NonNegativeScalar",
    "OneOf",
    "Positive",
    "PositiveFloat",
    "PositiveInt",
    "PositiveScalar",
    "bounds_of",
    "checked",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")


Finite: TypeAlias = Annotated[Number, Between()]
"""A finite number, or an array of them."""
Positive: TypeAlias = Annotated[Number, Between(0, open="low")]
"""A finite number > 0, or an array of them."""
NonNegative: TypeAlias = Annotated[Number, Between(0)]
"""A finite number >= 0, or an array of them."""
Fraction: TypeAlias = Annotated[Number, Between(0, 1)]
"""A number in [0, 1], or an array of them."""
BelowOne: TypeAlias = Annotated[Number, Between(0, 1, "high")]
"""A number in [0, 1), or an array of them."""
AboveZero: TypeAlias = Annotated[Number, Between(0, 1, "low")]
"""A number in (0, 1], or an array of them."""
FiniteScalar: TypeAlias = Annotated[Number, Between(scalar=True)]
"""A finite number."""
PositiveScalar: TypeAlias = Annotated[Number, Between(0, open="low", scalar=True)]
"""A finite number > 0."""
NonNegativeScalar: TypeAlias = Annotated[Number, Between(0, scalar=True)]
"""A finite number >= 0."""
FractionScalar: TypeAlias = Annotated[Number, Between(0, 1, scalar=True)]
"""A number in [0, 1]."""
BelowOneScalar: TypeAlias = Annotated[Number, Between(0, 1, "high", scalar=True)]
"""A number in [0, 1)."""
AboveZeroScalar: TypeAlias = Annotated[Number, Between(0, 1, "low", scalar=True)]
"""A number in (0, 1]."""
PositiveFloat: TypeAlias = Annotated[float, Between(0, open="low", scalar=True)]
"""A finite Python number > 0: seconds, rates."""
PositiveInt: TypeAlias = Annotated[int, Count(1)]
"""An integer >= 1."""
NonNegativeInt: TypeAlias = Annotated[int, Count(0)]
"""An integer >= 0."""


class _Bounded(NamedTuple):
    """The bound of an argument, and the other values that pass: ``None``, a function."""

    bound: Bound
    optional: bool
    callable: bool

    def check(self, name: str, value: Any) -> None:
        if not (self.optional and value is None) and not (self.callable and callable(value)):
            self.bound.check(name, value)


def _parts(annotation: Any) -> Iterator[Any]:
    """The members of a union, itself perhaps within ``Annotated``; each with the metadata that it has."""
    if get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    else:
        yield annotation
        if get_origin(annotation) is Annotated:
            yield from _parts(get_args(annotation)[0])


def _is_function(part: Any) -> bool:
    return get_origin(part) is Callable or part is Callable


def _bounded(annotation: Any) -> _Bounded | None:
    parts = list(_parts(annotation))
    found = [m for part in parts for m in getattr(part, "__metadata__", ()) if isinstance(m, Bound)]
    functions = [part for part in parts if _is_function(part)]
    names = [part for part in parts if get_origin(part) is Literal]
    if len(names) + len(functions) + (type(None) in parts) == len(parts):  # else a name stands for an object
        found += [OneOf(*get_args(part)) for part in names]
    return _Bounded(found[0], type(None) in parts, bool(functions)) if found else None


def bounds_of(function: Callable) -> Mapping[str, _Bounded]:
    """The bounds in the annotations of a function, or of a class, by argument.

    Args:
      function: the function or class.

    Returns:
      For each argument that has one: the bound, whether None passes, whether a function passes.

    >>> def shrink(x, rate: Fraction | None = None): ...
    >>> bounds_of(shrink)["rate"].bound == Between(0, 1), bounds_of(shrink)["rate"].optional
    (True, True)
    """
    names = inspect.signature(function).parameters
    return {name: found for name, each in names.items() if (found := _bounded(each.annotation)) is not None}


def _checks_of(function: Callable) -> dict[str, list[Callable[[str, Any], None]]]:
    """The checks of each argument: of its bound, of the kind of object that it is."""
    checks = {name: [bounded.check] for name, bounded in bounds_of(function).items()}
    for name, parameter in inspect.signature(function).parameters.items():
        parts = list(_parts(parameter.annotation))
        for kind in KINDS:
            if kind in parts:
                is_object = functools.partial(check_kind, kind, optional=type(None) in parts)
                checks[name] = [*checks.get(name, []), is_object]
        if any(map(_is_function, parts)) and all(_is_function(part) or part is type(None) for part in parts):
            checks[name] = [functools.partial(check_function, optional=type(None) in parts)]
    return checks


@functools.cache  # made by the first call: reading all signatures would take a third of the time of an import
def _plan(function: Callable) -> tuple[tuple[str, int, Callable[[str, Any], None]], ...]:
    """The name, the position and a check of each argument that has one."""
    parameters = inspect.signature(function).parameters.values()
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    position_of = {name: position for position, name in enumerate(positional)}
    checks = ((name, check) for name, found in _checks_of(function).items() for check in found)
    return tuple((name, position_of.get(name, sys.maxsize), check) for name, check in checks)


def checked(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Checks the arguments of ``function`` against the bounds in its annotations before each call.

    Args:
      function: a function with bounds in its annotations.

    Returns:
      A function of the same signature, whose defaults are not checked.

    >>> @checked
    ... def shrink(x: Number, rate: Fraction = 0.5):
    ...     return x * rate
    >>> shrink(1.0, rate=1.5)
    Traceback (most recent call last):
    ValueError: rate must be in [0, 1], got 1.5
    """

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        given = len(args)
        for name, position, check in _plan(function):
            if name in kwargs:
                check(name, kwargs[name])
            elif position < given:
                check(name, args[position])
        return function(*args, **kwargs)

    return call

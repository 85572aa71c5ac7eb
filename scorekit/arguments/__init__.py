"""Bounds of arguments: declared in the annotation, checked when the function is called.

A bound is metadata of ``Annotated``; one that is used more than once is a named alias of any type. ``Positive[float]``
is one number, traced or not; an argument that is ``Positive[Number]`` may be mapped over, and be an array::

    @checked
    def shrink(x: Array, rate: Fraction[Number], steps: PositiveInt = 1) -> Array: ...

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
from typing import Any, ForwardRef, Literal, NamedTuple, ParamSpec, TypeAlias, TypeVar, Union, get_args, get_origin

import numpy as np

from scorekit.arguments._bounds import Between, Bound, Count, Each, OneOf
from scorekit.arguments._kinds import KINDS, check_function, check_kind
from scorekit.typing import Named

__all__ = [
    "Between",
    "Bound",
    "Count",
    "Each",
    "Finite",
    "Fraction",
    "FractionBelowOne",
    "NonNegative",
    "NonNegativeInt",
    "OneOf",
    "Positive",
    "PositiveFraction",
    "PositiveInt",
    "bounds_of",
    "checked",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")

Finite: TypeAlias = Named[_T, "Finite", Between()]
"""Finite numbers."""
Positive: TypeAlias = Named[_T, "Positive", Between(0, open="low")]
"""Finite numbers > 0."""
NonNegative: TypeAlias = Named[_T, "NonNegative", Between(0)]
"""Finite numbers >= 0."""
Fraction: TypeAlias = Named[_T, "Fraction", Between(0, 1)]
"""Numbers in [0, 1]."""
FractionBelowOne: TypeAlias = Named[_T, "FractionBelowOne", Between(0, 1, "high")]
"""Numbers in [0, 1)."""
PositiveFraction: TypeAlias = Named[_T, "PositiveFraction", Between(0, 1, "low")]
"""Numbers in (0, 1]."""
PositiveInt: TypeAlias = Named[int, "PositiveInt", Count(1)]
"""An integer >= 1."""
NonNegativeInt: TypeAlias = Named[int, "NonNegativeInt", Count(0)]
"""An integer >= 0."""


class _Bounded(NamedTuple):
    """The bound of an argument, whether it is one number, and the other values that pass: ``None``, a function."""

    bound: Bound
    scalar: bool
    optional: bool
    callable: bool

    def check(self, name: str, value: Any) -> None:
        if (self.optional and value is None) or (self.callable and callable(value)):
            return
        if self.scalar and (shape := np.shape(value)) != ():
            raise ValueError(f"{name} must be a scalar, got shape {shape}")
        self.bound.check(name, value)


def _paths(annotation: Any) -> Iterator[tuple]:
    """For each member of a union the annotations from the outermost one to the type."""
    if isinstance(annotation, str | ForwardRef):
        raise TypeError(f"{annotation!r} is a name that cannot be read")
    if get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _paths(part)
    elif hasattr(annotation, "__metadata__"):
        yield from ((annotation, *path) for path in _paths(annotation.__origin__))
    else:
        yield (annotation,)


def _is_function(kind: Any) -> bool:
    return get_origin(kind) is Callable or kind is Callable


def _bounded(paths: list[tuple]) -> _Bounded | None:
    kinds = [path[-1] for path in paths]
    names = [kind for kind in kinds if get_origin(kind) is Literal]
    functions = [kind for kind in kinds if _is_function(kind)]
    metadata = [(each, path[-1]) for path in paths for part in path for each in getattr(part, "__metadata__", ())]
    bounds = [(bound, kind) for bound, kind in metadata if isinstance(bound, Bound)]
    if len(names) + len(functions) + (type(None) in kinds) == len(kinds):  # else a name stands for an object
        bounds += [(OneOf(*get_args(kind)), kind) for kind in names]
    if len({bound for bound, _ in bounds}) > 1:
        raise TypeError(f"{' and '.join(repr(bound) for bound, _ in bounds)} are two bounds")
    scalar = all(kind is float for _, kind in bounds)
    return _Bounded(bounds[0][0], scalar, type(None) in kinds, bool(functions)) if bounds else None


def _checks(paths: list[tuple]) -> list[Callable[[str, Any], None]]:
    """The checks of an argument: of its bound, of the kind of object that it is."""
    kinds = [path[-1] for path in paths]
    optional = type(None) in kinds
    if all(_is_function(kind) or kind is type(None) for kind in kinds) and any(map(_is_function, kinds)):
        return [functools.partial(check_function, optional=optional)]
    objects = [kind for kind in KINDS if any(kind in path for path in paths)]
    bound_check = [bounded.check] if (bounded := _bounded(paths)) else []
    return bound_check + [functools.partial(check_kind, kind, optional=optional) for kind in objects]


def _read(function: Any, read: Callable[[list[tuple]], _R | None], annotations: Mapping[str, Any]) -> dict[str, _R]:
    """What is read from the annotation of each argument, where it is something; strings are evaluated."""
    results = {}
    for name, annotation in annotations.items():
        if name == "return":
            continue
        try:
            if isinstance(annotation, str):
                annotation = eval(annotation, vars(sys.modules[function.__module__]))
            if result := read(list(_paths(annotation))):
                results[name] = result
        except (NameError, TypeError) as error:
            raise TypeError(f"{name} of {getattr(function, '__qualname__', function)}: {error}") from None
    return results


def bounds_of(function: Callable) -> Mapping[str, _Bounded]:
    """The bounds in the annotations of a function, or of a class, by argument.

    Args:
      function: the function or class.

    Returns:
      For each argument that has one: the bound, whether None passes, whether a function passes.

    >>> def shrink(x, rate: Fraction[float] | None = None): ...
    >>> bounds_of(shrink)["rate"].bound == Between(0, 1), bounds_of(shrink)["rate"].optional
    (True, True)
    """
    parameters = inspect.signature(function).parameters
    return _read(function, _bounded, {name: each.annotation for name, each in parameters.items()})


def checked(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Checks the arguments of ``function`` against the bounds in its annotations before each call.

    Args:
      function: a function with bounds in its annotations; those that are strings are evaluated.

    Returns:
      A function of the same signature, whose defaults are not checked.

    Raises:
      TypeError: an argument has two bounds, or an annotation that cannot be read.

    >>> @checked
    ... def shrink(x: float, rate: Fraction[float] = 0.5):
    ...     return x * rate
    >>> shrink(1.0, rate=1.5)
    Traceback (most recent call last):
    ValueError: rate must be in [0, 1], got 1.5
    """
    checks = _read(function, _checks, function.__annotations__)

    @functools.cache  # made by the first call: reading all signatures would take a third of the time of an import
    def plan() -> tuple[tuple[str, int, Callable[[str, Any], None]], ...]:
        """The name, the position and a check of each argument that has one."""
        parameters = inspect.signature(function).parameters.values()
        positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        position_of = {name: position for position, name in enumerate(positional)}
        return tuple((name, position_of.get(name, sys.maxsize), one) for name, own in checks.items() for one in own)

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        given = len(args)
        for name, position, check in plan():
            if name in kwargs:
                check(name, kwargs[name])
            elif position < given:
                check(name, args[position])
        return function(*args, **kwargs)

    return call

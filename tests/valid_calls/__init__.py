"""Valid calls of public functions of ``scorekit`` to which a wrong array would give an answer that looks right.

A file of a group of modules holds ``ROWS``, from the dotted name below ``scorekit`` (with ``/`` and a word for a second
row of the same function) to a :class:`~valid_calls.kinds.Call`, and ``USUAL``: by the names of modules, the values of
the required arguments that a row leaves out, by the name of the argument; :mod:`valid_calls.common` has those of all
modules. What is in neither has a value in the middle of the bound in its annotation.
"""

import collections
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import scorekit
from scorekit.arguments import Bound, bounds_of
from scorekit.typing import Denoiser, PyTree, Weighting
from valid_calls.kinds import Call, call

_RETURNED = {Denoiser: "x_t t", Callable[[PyTree], PyTree]: "x", Weighting: "log_snr"}
"""The arguments of a function that is returned, by its annotation."""


def rows(every: bool = False) -> dict[str, Call]:
    """Every row, with its function and the arguments that are left to ``USUAL``.

    With ``every`` also a call of each other public function by usual arguments alone, whether they suffice or not.
    """
    tables = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    given = {name: row for table in tables for name, row in getattr(table, "ROWS", {}).items()}
    usual: dict[str, dict[str, Any]] = collections.defaultdict(dict)
    for table in tables:
        for modules, values in getattr(table, "USUAL", {}).items():
            for module in modules.split():
                usual[module] |= values
    names, bounds, found = public_names(), public_bounds(), {}
    if every:
        given = {name: call() for name, thing in names.items() if inspect.isfunction(thing)} | given
    for name, (function, arguments, then, answer) in given.items():
        dotted = name.partition("/")[0]
        public = names[dotted]
        package, module = dotted.partition(".")[0], dotted.rpartition(".")[0]
        if then is None:
            then = () if function else _RETURNED.get(inspect.signature(public).return_annotation, "").split()
        required = [*required_arguments(function or public), *then]
        known = {key: _middle(each.bound) for key, each in bounds.get(dotted, {}).items()}
        known |= usual["scorekit"] | usual[package] | usual[module]
        arguments = {key: known[key] for key in required if key in known} | arguments
        found[name] = Call(function or public, arguments, then, answer)
    return found


def _middle(bound: Bound) -> Any:
    """A value inside a bound: its middle, or the second from its end."""
    values = bound.inside()
    return values[len(values) // 2]


def public_bounds() -> dict[str, Mapping[str, Any]]:
    """The bounds in the annotations of every public name that has some, by argument."""
    has_none = lambda thing: inspect.isclass(thing) and thing.__init__ is object.__init__
    found = {name: bounds_of(thing) for name, thing in public_names().items() if not has_none(thing)}
    return {name: bounds for name, bounds in found.items() if bounds}


def required_arguments(function: Callable) -> list[str]:
    """The names of the arguments without a default."""
    return [key for key, each in inspect.signature(function).parameters.items() if each.default is each.empty]


def public_names() -> dict[str, object]:
    """Every public function and class of ``scorekit`` by its dotted name.

    A package with ``__all__`` offers what is in it, and its modules nothing more; other modules offer all their names
    without an underscore.

    >>> "samplers.sample" in public_names() and "losses.denoising_loss" in public_names()
    True
    """
    found: dict[str, object] = {}
    for module in _modules(scorekit):
        for name in getattr(module, "__all__", None) or _own_names(module):
            value = getattr(module, name)
            if inspect.ismodule(value):
                offered = {own: getattr(value, own) for own in getattr(value, "__all__", _own_names(value))}
                prefix = f"{module.__name__.removeprefix('scorekit.')}.{name}"
                found |= {f"{prefix}.{own}": each for own, each in offered.items() if inspect.isfunction(each)}
            elif (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__.startswith("scorekit"):
                found[f"{module.__name__.removeprefix('scorekit.')}.{name}"] = value
    return found


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    """The modules below a package whose names are public."""
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        name = info.name.rpartition(".")[2]
        if name.startswith("_") or name == "numerics":  # helpers, which check less
            continue
        module = importlib.import_module(info.name)
        yield module
        if info.ispkg and not getattr(module, "__all__", None):
            yield from _modules(module)


def _own_names(module: ModuleType) -> list[str]:
    is_own = lambda name, value: not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    return [name for name, value in vars(module).items() if is_own(name, value)]

"""Valid calls of the public functions of ``scorekit``, a file for each package or group of modules.

Each file holds ``ROWS``, from the dotted name below ``scorekit`` (with ``/`` and a word for a second row of the same
function) to a :class:`~valid_calls.kinds.Call`, and ``USUAL``: values of required arguments that rows leave out, by
the name of the argument. Functions without a row and the reasons are in :mod:`valid_calls.exempt`.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType

import scorekit
from valid_calls.kinds import Call


def rows() -> dict[str, Call]:
    """Every row, with its function and the arguments that are left to ``USUAL``."""
    names, found = public_names(), {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for name, (function, arguments, then) in getattr(module, "ROWS", {}).items():
            function = function or names[name.partition("/")[0]]
            required = [*required_arguments(function), *then]
            usual = {key: module.USUAL[key] for key in required if key in getattr(module, "USUAL", {})}
            found[name] = Call(function, usual | arguments, then)
    return found


def required_arguments(function: Callable) -> list[str]:
    """The names of the arguments without a default."""
    return [key for key, each in inspect.signature(function).parameters.items() if each.default is each.empty]


def is_made(thing: object) -> bool:
    """Whether a class is a named tuple, as results are, or a protocol."""
    return inspect.isclass(thing) and (issubclass(thing, tuple) or getattr(thing, "_is_protocol", False))


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
        if info.name.rpartition(".")[2].startswith("_"):
            continue
        module = importlib.import_module(info.name)
        yield module
        if info.ispkg and not getattr(module, "__all__", None):
            yield from _modules(module)


def _own_names(module: ModuleType) -> list[str]:
    is_own = lambda name, value: not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    return [name for name, value in vars(module).items() if is_own(name, value)]

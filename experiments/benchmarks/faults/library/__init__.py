"""Valid calls of every public function of ``scorekit``, a file for each package or group of modules.

Each file holds ``ROWS``, from the dotted name below ``scorekit`` (with ``/`` and a word for a second row of the same
function) to a :class:`~experiments.benchmarks.faults.calls.Call`, and ``EXEMPT``, from names that have no row to the
reason: results that only the library makes, protocols, functions that take no values.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import scorekit
from experiments.benchmarks.faults.calls import Call


def tables() -> tuple[dict[str, Call], dict[str, str]]:
    """All rows and all exemptions."""
    rows: dict[str, Call] = {}
    exempt: dict[str, str] = {}
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        rows |= module.ROWS
        exempt |= module.EXEMPT
    return rows, exempt


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

"""Every example in a docstring runs, and every public function of the core has one."""

import doctest
import functools
import importlib
import inspect
import pathlib
import pkgutil

import pytest
from test_floors import FLOOR_OF

import experiments
import scorekit

MODULES = [
    "scorekit",
    *(m.name for m in pkgutil.walk_packages(scorekit.__path__, "scorekit.")),
    *(m.name for m in pkgutil.walk_packages(experiments.__path__, "experiments.") if "benchmarks" not in m.name),
]
CORE = [name for name in MODULES if FLOOR_OF.get((name.split(".") + ["__init__"])[1], 4) <= 3]
CORE = [name for name in CORE if name.startswith("scorekit")]


@functools.cache
def load(name):
    """The module, or a skip where an optional requirement of it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("scorekit", "experiments"):
            raise
        pytest.skip(f"needs {error.name}")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(load(name)).failed == 0


def public_functions(module):
    """The functions of ``__all__``, or without one those that the module defines and does not hide."""
    names = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    for name in names:
        value = getattr(module, name)
        if inspect.isfunction(value) and (hasattr(module, "__all__") or value.__module__ == module.__name__):
            yield value


@pytest.mark.parametrize("name", CORE)
def test_public_functions_of_the_core_have_an_example(name):
    missing = [f.__qualname__ for f in public_functions(load(name)) if ">>>" not in (f.__doc__ or "")]
    assert missing == []


def test_no_module_is_left_out():
    root = pathlib.Path(scorekit.__file__).parent
    parts = (p.relative_to(root.parent).with_suffix("").parts for p in root.rglob("*.py"))
    assert {".".join(p).removesuffix(".__init__") for p in parts} == {n for n in MODULES if n.startswith("scorekit")}

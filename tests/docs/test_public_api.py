"""The public line: what has no underscore is in an ``__all__``, and what is in an ``__all__`` is documented in full.

``missing("scorekit.solvers")`` lists all that a package lacks; :mod:`docstrings` says what a complete docstring has.
"""

import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

import pytest
from docstrings import incomplete_class, incomplete_function, top_level, undocumented, unlisted, unoffered

import scorekit

ROOT = Path(scorekit.__file__).parent

NO_EQUATION = {
    "audio": "constant_q_frame hz_to_mel multi_resolution_stft_loss stft",
    "flow_maps": "curriculum fake_score_loss",
    "io": "beta_table convert from_scheduler",
    "metrics": "bootstrap_interval classification_accuracy_score fit_linear_probe resize",
    "networks": "normalise_weights",
    "training": "post_hoc_ema",
    "typicality": "code_length",
}
"""Functions of a paper that are no formula: algorithms, layouts, files."""


def modules(package: str) -> Iterator[ModuleType]:
    """A package and the modules in it that are public, imported."""
    module = importlib.import_module(package)
    yield module
    if package == "scorekit":
        return
    for info in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{package}."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            yield importlib.import_module(info.name)


def missing(package: str) -> list[str]:
    """All that the modules of a package lack of the public line, a line each."""
    no_equation = set(NO_EQUATION.get(package.removeprefix("scorekit."), "").split())
    found, seen, used = [], set(), set()
    for module in modules(package):
        source, inner = inspect.getsource(module), module.__name__.count(".") > 1
        public = [name for name in top_level(source) if not name.startswith("_")]
        listed = getattr(module, "__all__", public if inner else None)
        wrong = unlisted(source, listed)
        if inner:
            parent = importlib.import_module(module.__name__.rpartition(".")[0])
            wrong += unoffered(module.__name__, listed, parent.__name__, getattr(parent, "__all__", []))
        found += [f"{module.__name__}: {what}" for what in wrong]
        for name in listed or ():
            if not hasattr(module, name):
                found.append(f"{module.__name__}: {name} of __all__ does not exist")
                continue
            thing = getattr(module, name)
            origin = str(getattr(thing, "__module__", package))
            elsewhere = package == "scorekit" or not f"{origin}.".startswith((f"{package}.", "scorekit._"))
            if id(thing) in seen or (origin.startswith("scorekit.") and elsewhere) or name == "__version__":
                continue
            seen.add(id(thing))
            used.add(name)
            what = undocumented(module, name, equation=name not in no_equation)
            found += [f"{module.__name__}.{name}: {each}" for each in what]
    return found + [f"{package}: {name} has an exemption and is not public" for name in sorted(no_equation - used)]


PACKAGES = ["scorekit"] + [
    f"scorekit.{info.name}" for info in pkgutil.iter_modules([str(ROOT)]) if not info.name.startswith("_")
]


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_is_listed_and_documented(package):
    found = missing(package)
    assert not found, f"{len(found)} missing:\n" + "\n".join(found)


# ----------------------------------------------------------------------------- each check finds what it is for
GOOD = '''"""A module."""
import jax
from math import pi as PI
__all__ = ["offered", "Alias"]
Alias = int
"""An alias."""
def offered(): "Doc."
def _private(): ...
'''


def test_constants_without_a_docstring_are_found():
    assert top_level(GOOD)["Alias"]
    assert not top_level(GOOD.replace('"""An alias."""', ""))["Alias"]


def test_what_a_package_does_not_offer_is_found():
    assert unoffered("p.inner", ["a", "b"], "p", ["a"]) == ["b is not offered by p"]
    assert unoffered("p.inner", ["a", "b"], "p", ["inner"]) == []


def good(a: float, *, b: float = 1.0) -> float:
    """The sum, ``a + b``.

    Args:
      a: a number.
      b: another,
        described on two lines: here.

    Returns:
      The sum, ().

    Raises:
      ValueError: if ``a`` is not a number.

    >>> good(1.0)
    2.0

    Source: Somebody 2020 (https://arxiv.org/abs/0000.00000).
    """
    if a != a:
        raise ValueError(f"a must be a number, got {a}")
    return a + b


CUTS = {
    r"(?s).*": ["no docstring"],
    r"  a: a number.\n": ["Args lacks a"],
    r"(?s)  b: .*?here.\n": ["Args lacks b"],
    r"(?<=\n  )a(?=: a number)": ["Args lacks a"],
    r"(?s)Returns:.*?\n\n": ["no Returns"],
    r"(?s)>>>.*?\n\n": ["no example"],
    r", ``a \+ b``": ["no equation"],
}


@pytest.mark.parametrize(("cut", "expected"), CUTS.items(), ids=range(len(CUTS)))
def test_what_a_docstring_lacks_is_found(cut, expected):
    assert incomplete_function(good) == []
    function = types.FunctionType(good.__code__, globals(), "good", good.__defaults__)
    function.__kwdefaults__, function.__annotations__ = good.__kwdefaults__, good.__annotations__
    function.__doc__ = re.sub(cut, "", inspect.cleandoc(str(good.__doc__)), count=1)
    assert incomplete_function(function) == expected
    function.__doc__ = str(good.__doc__).replace("b: another", "c: another")
    assert incomplete_function(function) == ["Args lacks b", "Args describes c, which is none"]


class Good(NamedTuple):
    """A pair.

    Attributes:
      x: a number.
      y: another.

    >>> Good(x=1, y=2).total()
    3
    """

    x: float
    y: float

    def total(self) -> float:
        """The sum.

        Returns:
          The sum.
        """
        return self.x + self.y


class Bad(NamedTuple):
    """A pair.

    Attributes:
      x: a number.
    """

    x: float
    y: float

    def total(self, start: float) -> float:
        """The sum."""
        return start + self.x + self.y

    @property
    def half(self):
        return self.x / 2

    def order(self): ...


class Open(Protocol):
    """A protocol needs one line for each method."""

    def one(self) -> int:
        """One."""
        ...

    def two(self) -> int: ...


def test_what_a_class_lacks_is_found():
    assert incomplete_class(Good) == []
    assert incomplete_class(Bad) == [
        "Attributes lacks y",
        "no example",
        *[f"total: {what}" for what in ("Args lacks start", "no Returns", "no example")],
        "half: no docstring",
        "order: no docstring",
    ]
    assert incomplete_class(Open) == ["two: no docstring"]

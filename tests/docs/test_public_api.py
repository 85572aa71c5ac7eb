"""The public line: what has no underscore is in an ``__all__``, and what is in an ``__all__`` is documented in full.

``missing("scorekit.solvers")`` lists all that a package lacks; :mod:`docstrings` says what a complete docstring has.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from docstrings import sections, top_level, undocumented, unlisted, unoffered

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
    f"scorekit.{info.name}"
    for info in pkgutil.iter_modules([str(ROOT)])
    if not info.name.startswith("_") and info.name != "numerics"  # helpers, in no __all__
]


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_is_listed_and_documented(package):
    found = missing(package)
    assert not found, f"{len(found)} missing:\n" + "\n".join(found)


def test_numerical_helpers_are_documented():
    found = []
    for module in modules("scorekit.numerics"):
        public = {name: vars(module)[name] for name in top_level(inspect.getsource(module)) if not name.startswith("_")}
        functions = [name for name, thing in public.items() if inspect.isfunction(thing)]
        found += [(module.__name__, name, undocumented(module, name, equation=False)) for name in functions]
    assert [each for each in found if each[2]] == []


@pytest.mark.parametrize("package", [*PACKAGES, "scorekit.numerics"])
def test_docstrings_of_modules_describe_no_arguments(package):
    found = [
        module.__name__ for module in modules(package) if {"Args", "Returns"} & set(sections(module.__doc__ or ""))
    ]
    assert not found

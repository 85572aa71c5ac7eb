"""Packages whose names load the modules that define them on first use.

The imports under ``if TYPE_CHECKING:`` in the ``__init__`` of such a package say where its names are: type checkers
follow them, and :func:`attach` reads them. Each is written ``from module import name as name``, which offers the name
(PEP 484), so that the package needs no ``__all__`` of its own. No name may equal the name of its module: importing the
module would put it in the place of the name.
"""

import ast
import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

_EXTRAS = {"flax": "io", "safetensors": "io", "optax": "experiments", "orbax": "experiments"}


def load(module: str) -> Any:
    """Imports a module; where it lacks a package that an extra installs, the ``ImportError`` names the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in _EXTRAS:
            raise
        needs = f"this part of scorekit needs {package}: pip install 'scorekit[{_EXTRAS[package]}]'"
        raise ModuleNotFoundError(needs, name=package) from error


def attach(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__``, which knows ``__all__`` too, and ``__dir__`` of a package (PEP 562)."""
    itself = sys.modules[package]

    @functools.cache
    def body() -> list[ast.stmt]:
        return ast.parse(pkgutil.get_data(package, "__init__.py") or b"").body

    @functools.cache
    def modules() -> dict[str, str]:
        blocks = [node.body for node in body() if isinstance(node, ast.If)]
        imports = [node for block in blocks for node in block if isinstance(node, ast.ImportFrom)]
        return {alias.name: str(node.module) for node in imports for alias in node.names}

    def defined() -> set[str]:
        """The public names that the ``__init__`` itself defines."""
        places = [place for node in body() for place in getattr(node, "targets", [getattr(node, "target", node)])]
        names = {str(getattr(place, "id", getattr(place, "name", "_"))) for place in places}
        return {name for name in names if not name.startswith("_")}

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted({*modules(), *defined()})
        if name not in modules():
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=itself)
        if modules()[name] == package:
            return load(f"{package}.{name}")
        value = getattr(load(modules()[name]), name)
        setattr(itself, name, value)
        return value

    return get, lambda: sorted({*vars(itself), *modules()})

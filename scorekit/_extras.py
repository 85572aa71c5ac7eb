"""Packages that an extra installs: importing one from here raises an ``ImportError`` that names the extra."""

import importlib
from typing import Any

_EXTRAS = {"flax": "io", "safetensors": "io", "optax": "experiments", "orbax": "experiments"}


def __getattr__(name: str) -> Any:
    if name not in _EXTRAS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        needs = f"this part of scorekit needs {error.name}: pip install 'scorekit[{_EXTRAS[name]}]'"
        raise ModuleNotFoundError(needs, name=error.name) from error

"""Reads the tensors of a file of weights by name, whatever wraps them.

>>> import tempfile
>>> import numpy as np
>>> from safetensors.numpy import save_file
>>> with tempfile.TemporaryDirectory() as folder:
...     save_file({"out.bias": np.zeros(3)}, f"{folder}/w.safetensors")
...     found = Weights(*read_weights(f"{folder}/w.safetensors"))
>>> found.named["out.bias"].shape, found.facts
((3,), {})
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scorekit.io._arrays import LazyArray, NumpyArray
from scorekit.io._naming import naming
from scorekit.io._pickles import Inert, read_pickle
from scorekit.io._safetensors import read_safetensors

__all__ = ["PICKLES", "WEIGHTS", "Weights", "read_weights"]

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin")
"""Endings of files of PyTorch and of pickles."""
WEIGHTS = (".safetensors", *PICKLES)
"""Endings of the files that :func:`read_weights` takes."""
_KEYS = ("ema", "model", "state_dict")


class Weights(NamedTuple):
    """Tensors of a file.

    Attributes:
      named: arrays by their foreign names.
      facts: numbers, words and booleans that the object which held them has as attributes, and its class as ``class``.
    """

    named: dict[str, Any]
    facts: dict[str, Any]


def read_weights(path: str | Path, key: str | None = None) -> Weights:
    """Reads the tensors of a file, and its other values.

    Args:
      path: a ``.safetensors`` file, or a file of PyTorch or pickle, which is read without PyTorch and without running
        code in it.
      key: key of the dictionary in the file whose tensors to take; by default of the average: the first of "ema",
        "model" and "state_dict" that it has. The list of averages of score_sde gets the names of "model".

    Raises:
      ValueError: for another ending, a damaged file, one that refers to code, or one without tensors.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        with naming(path):
            return Weights(_nonempty(read_safetensors(path)), {})
    if path.suffix not in PICKLES:
        raise ValueError(f"path must end in {', '.join(WEIGHTS)}, got {str(path)!r}")
    found = read_pickle(path)
    with naming(path):
        named, facts = _choose(found, key)
        total, size = sum(array.nbytes for array in named.values()), path.stat().st_size
        if total > 8 * size + 2**20:
            raise ValueError(f"its tensors take {total:,} bytes, more than 8 times those of the file, {size:,}")
    return Weights({name.removeprefix("module."): array for name, array in named.items()}, facts)


_MODULES = 2**16


def _choose(found: Any, key: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors in the content of a file, and its other values."""
    if isinstance(found, Inert):
        named = {}
        _add(found, "", named, itertools.count())
        plain = {k: v for k, v in found.state.items() if isinstance(v, bool | int | float | str)}
        return _nonempty(named), {"class": found.name, **plain}
    if not isinstance(found, Mapping):
        raise ValueError(f"holds no tensors by name, but a {type(found).__name__}")
    if key is not None and key not in found:
        raise ValueError(f"key must be one of {', '.join(map(str, found))}, got {key!r}")
    if key is None:
        key = next((k for k in _KEYS if isinstance(found.get(k), Mapping | Inert)), None)
    if key is None:
        plain = {str(name): array for name, array in found.items() if isinstance(name, str | int) and _is_array(array)}
        return _nonempty(plain), {}
    inner = found[key]
    if isinstance(inner, Mapping) and "shadow_params" in inner:
        return _averages(inner["shadow_params"], _choose(found, "model")[0]), {}
    return _choose(inner, None)


def _is_array(value: Any) -> bool:
    return isinstance(value, LazyArray | NumpyArray)


def _nonempty(named: dict[str, Any]) -> dict[str, Any]:
    if not named:
        raise ValueError("holds no tensors")
    return named


def _add(module: Inert, prefix: str, named: dict[str, Any], modules: Iterator[int]) -> None:
    """Parameters, then buffers, then the modules within, in their order, as in the state of a module of PyTorch."""
    if next(modules) >= _MODULES:
        raise ValueError(f"holds more than {_MODULES:,} modules")
    for kind in ("_parameters", "_buffers"):
        left_out = module.state.get("_non_persistent_buffers_set", ()) if kind == "_buffers" else ()
        for name, array in (module.state.get(kind) or {}).items():
            if _is_array(array) and name not in left_out:
                named[f"{prefix}{name}"] = array
    for name, inner in (module.state.get("_modules") or {}).items():
        if isinstance(inner, Inert):
            _add(inner, f"{prefix}{name}.", named, modules)


def _averages(averages: Sequence[Any], model: dict[str, Any]) -> dict[str, Any]:
    """The model with the averages of score_sde in place of its parameters.

    They are a list in the order of the parameters; buffers and frozen parameters, such as the frequencies of a Fourier
    embedding, are in the state of the model and not in the list: their shape differs from the next one.
    """
    found, left = dict(model), list(averages)
    for name, array in model.items():
        if left and tuple(array.shape) == tuple(left[0].shape):
            found[name] = left.pop(0)
    if left:
        sizes = math.prod(left[0].shape)
        raise ValueError(f"{len(left)} of the averages, the first of {sizes} numbers, fit no parameter of the model")
    return found

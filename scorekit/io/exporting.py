"""Weights out: a folder with the weights in one file, a config that says what they mean, and a model card."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorekit import _version, networks, predictions
from scorekit.io import hub, preconditioning
from scorekit.io.files import as_path, write_atomic
from scorekit.io.reading import read_safetensors
from scorekit.io.tensors import check_params
from scorekit.schedules import _non_variance_preserving, _tables, _transforms, _variance_preserving
from scorekit.typing import PyTree

__all__ = ["export", "is_export", "read"]

_FORMAT = "scorekit"
_KINDS = {
    name: kind
    for module in (predictions, preconditioning, _non_variance_preserving, _tables, _transforms, _variance_preserving)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind is not _transforms.FromFunctions
}
"""Schedules, targets and noise inputs by the names of their classes."""


def export(folder: str | Path, loaded: Any, facts: Mapping[str, Any] | None = None) -> Path:
    """Writes a network with its weights and their meaning, which :func:`scorekit.io.load` reads.

    ``config.json`` holds the attributes of the network and its preconditioning, ``model.safetensors`` the parameters
    with names joined by dots (``blocks.qkv.kernel``), ``autoencoder.safetensors`` those of an autoencoder if there is
    one, ``README.md`` a model card.

    Args:
      folder: where to; made if it does not exist.
      loaded: a :class:`~scorekit.io.loading.Loaded`.
      facts: rows of the model card, such as data, steps, metrics and solver; JSON.

    Returns:
      The folder.

    Raises:
      ValueError: for a schedule, target or attribute that cannot be written as JSON.
      OSError: if a file cannot be written, naming it.
    """
    folder, facts = as_path(folder), dict(facts or {})
    config: dict[str, Any] = {
        "format": _FORMAT,
        "version": _version.__version__,
        "network": _module_to_json(loaded.module),
        "preconditioning": {name: _to_json(name, part) for name, part in loaded.preconditioning._asdict().items()},
        "shape": None if loaded.shape is None else list(loaded.shape),
        "facts": facts,
    }
    files = {"model.safetensors": loaded.params}
    if loaded.autoencoder is not None:
        module, files["autoencoder.safetensors"] = loaded.autoencoder
        config["autoencoder"] = _module_to_json(module)
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"facts must be JSON, got {facts}: {error}") from None
    from safetensors.numpy import save  # late: the rest of this package needs no safetensors

    for name, params in files.items():
        write_atomic(folder / name, save(_flat(params)))
    write_atomic(folder / "config.json", text)
    sums = {name: hub.sha256(folder / name) for name in files}
    write_atomic(folder / "README.md", _card(folder.name, loaded, facts, sums))
    return folder


def is_export(folder: Path) -> bool:
    """Whether :func:`export` wrote this folder."""
    try:
        return json.loads((folder / "config.json").read_text()).get("format") == _FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def read(folder: Path) -> dict[str, Any]:
    """The parts of a :class:`~scorekit.io.loading.Loaded` in a folder that :func:`export` wrote.

    Raises:
      ValueError: naming a parameter that is missing, unknown or of another shape, or a class that this version does not
        have.
    """
    config = json.loads((folder / "config.json").read_text())
    try:
        module = _module_from_json(config["network"])
        parts = {name: _from_json(value) for name, value in config["preconditioning"].items()}
        shape = None if config["shape"] is None else tuple(config["shape"])
        autoencoder = None
        if "autoencoder" in config:
            inner = _module_from_json(config["autoencoder"])
            autoencoder = inner, _params(folder / "autoencoder.safetensors")
        found = preconditioning.Preconditioning(**parts)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'config.json'}: was written by another version, or changed: {error}") from error
    params = _params(folder / "model.safetensors")
    if shape is not None:
        example = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        try:
            check_params(params, jax.eval_shape(module.init, jax.random.key(0), example, 0.0))
        except ValueError as error:
            raise ValueError(f"{folder / 'model.safetensors'}: {error}") from None
    return {
        "module": module,
        "params": params,
        "preconditioning": found,
        "shape": shape,
        "autoencoder": autoencoder,
    }


def _flat(params: PyTree) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(params["params"]))
    return {".".join(part.key for part in path): np.asarray(leaf, order="C") for path, leaf in leaves}


def _params(path: Path) -> PyTree:
    tree: dict[str, Any] = {}
    for name, array in read_safetensors(path).items():
        *parents, last = name.split(".")
        inner = tree
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = jnp.asarray(array)
    return {"params": tree}


def _module_to_json(module: nn.Module) -> dict[str, Any]:
    fields = [f.name for f in dataclasses.fields(module) if f.name not in ("parent", "name")]  # type: ignore[arg-type]
    values = {name: getattr(module, name) for name in fields}
    if "dtype" in values:
        values["dtype"] = jnp.dtype(values["dtype"]).name
    for name, value in values.items():
        try:
            json.dumps(value)
        except TypeError:
            raise ValueError(f"module must have attributes that are JSON, got {name}={value!r}") from None
    return {"kind": type(module).__name__, **values}


def _module_from_json(values: Mapping[str, Any]) -> nn.Module:
    given: dict[str, Any] = {name: _frozen(value) for name, value in values.items() if name != "kind"}
    if "dtype" in given:
        given["dtype"] = jnp.dtype(given["dtype"])
    kind = getattr(networks, values["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"kind must be a network of scorekit.networks, got {values['kind']!r}")
    return kind(**given)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _to_json(name: str, value: Any) -> Any:
    """A dataclass as its fields and the name of its class, an array as lists of numbers."""
    if type(value).__name__ in _KINDS:
        fields = {f.name: _to_json(f"{name}.{f.name}", getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if value is None or isinstance(value, int | float | str):
        return value
    if isinstance(value, np.ndarray | jax.Array):
        return np.asarray(value, np.float64).tolist()
    raise ValueError(f"{name} must be one of {', '.join(_KINDS)}, or numbers, got {value!r}")


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return jnp.asarray(value, float)
    if not isinstance(value, dict):
        return value
    return _KINDS[value["kind"]](**{name: _from_json(part) for name, part in value.items() if name != "kind"})


def _card(name: str, loaded: Any, facts: Mapping[str, Any], sums: Mapping[str, str]) -> str:
    count = sum(leaf.size for leaf in jax.tree.leaves(loaded.params))
    parts = {"network": f"{type(loaded.module).__name__}, {count:,} parameters"}
    parts |= {part: type(getattr(loaded, part)).__name__ for part in ("schedule", "target")}
    parts |= {"shape of an example": loaded.shape}
    rows = "\n".join(f"| {row} | {value} |" for row, value in {**parts, **facts}.items())
    digests = "\n".join(f"{digest}  {file}" for file, digest in sums.items())
    return f"""---
library_name: scorekit
tags: [diffusion, jax]
---
# {name}

| | |
|---|---|
{rows}

```python
import jax
from scorekit import io, samplers

loaded = io.load("{name}")
solver, ts = samplers.recommended(loaded.schedule, 25)
x = samplers.sample(None, loaded.denoiser(), loaded.schedule, solver, loaded.prior(jax.random.key(0), 4), ts)
```

SHA-256 of the weights:

```
{digests}
```
"""

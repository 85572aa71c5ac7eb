"""Weights out: a folder with the weights in one file, a config that gives them their meaning, and a model card."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorekit import _version
from scorekit.checks import check_finite
from scorekit.io import _hub as hub
from scorekit.io._config import Parts, module_to_json, parse, to_json
from scorekit.io._naming import naming
from scorekit.io._safetensors import read_safetensors
from scorekit.io.files import as_path, read_json, write_atomic
from scorekit.io.tensors import check_params
from scorekit.typing import PyTree

_FORMAT = "scorekit"
_WEIGHTS, _AUTOENCODER = "model.safetensors", "autoencoder.safetensors"


def export(folder: str | Path, loaded: Any, facts: Mapping[str, Any] | None = None, example: str | None = None) -> Path:
    """Writes a network with its weights and their meaning, which :func:`scorekit.io.load` reads.

    ``config.json`` holds the attributes of the network, its preconditioning and the SHA-256 of the weights,
    ``model.safetensors`` the parameters with names joined by dots (``blocks.qkv.kernel``; constants after
    ``constants/``), ``autoencoder.safetensors`` the weights of an autoencoder if there is one, ``README.md`` a model
    card. Earlier files of these names are replaced. What ``load`` would not read is not written, such as parameters
    that do not fit the network.

    Args:
      folder: the folder to write; made if it does not exist.
      loaded: a :class:`~scorekit.io.loading.Loaded` of known shape.
      facts: rows of the model card, such as data, steps, metrics and solver; JSON.
      example: code of the model card; by default it draws four samples without conditions.

    >>> import tempfile
    >>> from scorekit import io, networks
    >>> module = networks.MLP(features=4, blocks=1)
    >>> params = jax.jit(module.init)(jax.random.key(0), jnp.ones((1, 2)), 0.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = export(folder, io.Loaded(module, params, io.preconditioning.edm(), (2,)), {"steps": 1000})
    ...     io.load(folder).shape
    (2,)
    """
    folder, facts = as_path(folder), dict(facts or {})
    config: dict[str, Any] = {
        "format": _FORMAT,
        "version": _version.__version__,
        "network": module_to_json(loaded.module),
        "preconditioning": {name: to_json(name, part) for name, part in loaded.preconditioning._asdict().items()},
        "shape": None if loaded.shape is None else list(loaded.shape),
        "facts": facts,
    }
    weights = {_WEIGHTS: loaded.params}
    if loaded.autoencoder is not None:
        module, weights[_AUTOENCODER] = loaded.autoencoder
        config["autoencoder"] = module_to_json(module)
    try:
        text = json.dumps(config, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"facts must be JSON, got {facts}: {error}") from None
    from safetensors.numpy import save  # late: the rest of this package needs no safetensors

    parts = parse(json.loads(text))
    for name, params in weights.items():
        expected = _expected(parts, name, params)
        weights[name] = {collection: params[collection] for collection in expected if collection in params}
        _check(weights[name], expected)  # without what is no collection of the network, such as a learned schedule
    files = {name: save(_flat(params)) for name, params in weights.items()}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for name, data in files.items():
        write_atomic(folder / name, data)
    text = json.dumps({**config, "sha256": sums}, indent=2, ensure_ascii=False)
    write_atomic(folder / "config.json", text + "\n")
    write_atomic(folder / "README.md", _card(folder.name, loaded, facts, sums, example or _example(folder.name)))
    return folder


def is_export(folder: Path) -> bool:
    """Whether :func:`export` wrote this folder."""
    try:
        return read_json(folder / "config.json").get("format") == _FORMAT
    except (OSError, ValueError):
        return False


def read(folder: Path, shape: Sequence[int] | None = None) -> dict[str, Any]:
    """The parts of a :class:`~scorekit.io.loading.Loaded` in a folder of :func:`export`; ``shape`` is of an example.

    An error names the file, and the parameter, field or class that does not fit.
    """
    path = folder / "config.json"
    config = read_json(path)
    with naming(path):
        parts = parse(config if shape is None else {**config, "shape": list(shape)})
    found = {}
    for name in (_WEIGHTS,) if parts.autoencoder is None else (_WEIGHTS, _AUTOENCODER):
        params = found[name] = _params(folder / name)
        with naming(path):
            expected = _expected(parts, name, params)
        with naming(folder / name):
            _check(params, expected)
            if "sha256" in config and config["sha256"][name] != hub.sha256(folder / name):  # earlier versions have none
                raise ValueError("its SHA-256 is not that of config.json: it is damaged, or was replaced")
    autoencoder = None if parts.autoencoder is None else (parts.autoencoder, found[_AUTOENCODER])
    return {**parts._asdict(), "params": found[_WEIGHTS], "autoencoder": autoencoder}


def _expected(parts: Parts, name: str, params: PyTree) -> PyTree:
    """The parameters of the network of a file, which is not built any further than these can be."""
    module: Any = parts.module if name == _WEIGHTS else parts.autoencoder
    leaves = jax.tree.leaves(params)
    calls, most = itertools.count(), 100 + 4 * len(leaves)  # networks here make at most 1.4 calls for each

    def count(function, args, kwargs, context):
        if next(calls) > most:
            raise ValueError(f"the network has more layers than its {len(leaves)} arrays of parameters")
        return function(*args, **kwargs)

    key, x = jax.random.key(0), jax.ShapeDtypeStruct((1, *parts.shape), jnp.float32)
    with nn.intercept_methods(count):
        if module is parts.module:
            return jax.eval_shape(module.init, key, x, 0.0)
        decode = lambda key, z: module.init_with_output(key, z, method="decode")[0]
        return jax.eval_shape(module.init, key, jax.eval_shape(decode, key, x))


def _check(params: PyTree, expected: PyTree) -> None:
    check_params(params, expected)
    check_finite(params=params)


def _flat(params: PyTree) -> dict[str, np.ndarray]:
    flat = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(params)):
        collection, *names = (part.key for part in path)
        prefix = "" if collection == "params" else f"{collection}/"
        flat[prefix + ".".join(names)] = np.asarray(leaf, order="C")
    return flat


def _params(path: Path) -> PyTree:
    tree: dict[str, Any] = {}
    named = read_safetensors(path)
    parts = {name[:i] for name in named for i, letter in enumerate(name) if letter == "."}
    if both := sorted(parts & named.keys()):
        raise ValueError(f"{path}: has a tensor {both[0]!r} and others below this name")
    for name, array in named.items():
        collection, _, name = name.rpartition("/")
        *parents, last = name.split(".")
        inner = tree
        for parent in (collection or "params", *parents):
            inner = inner.setdefault(parent, {})
        inner[last] = jnp.asarray(array)
    return tree


def _card(name: str, loaded: Any, facts: Mapping[str, Any], sums: Mapping[str, str], example: str) -> str:
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
{example.strip()}
```

SHA-256 of the weights:

```
{digests}
```
"""


def _example(name: str) -> str:
    return f"""
import jax
from scorekit import io, samplers

loaded = io.load("{name}")
solver, ts = samplers.recommended(loaded.schedule, 25)
x = samplers.sample(loaded.denoiser(), loaded.schedule, solver, loaded.prior(jax.random.key(0), 4), ts)
"""

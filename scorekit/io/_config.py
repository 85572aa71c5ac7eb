"""``config.json`` of an export: a network, its preconditioning and the shape of an example, out and in, checked."""

import dataclasses
import inspect
import json
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorekit import networks, predictions, schedules
from scorekit.arguments import Between, Count
from scorekit.io import preconditioning

_BUILDERS = (schedules.from_betas, schedules.learned, schedules.shifted)
_KINDS = {
    kind.__name__: kind
    for kind in (
        *vars(predictions).values(),
        *vars(preconditioning).values(),
        *vars(schedules).values(),
        *(get_type_hints(builder)["return"] for builder in _BUILDERS),
    )
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
"""Schedules, targets and noise inputs by the names of their classes."""


class Parts(NamedTuple):
    """The contents of ``config.json``."""

    module: nn.Module
    preconditioning: preconditioning.Preconditioning
    shape: tuple[int, ...]
    autoencoder: nn.Module | None


_LARGEST = 2**26  # numbers of one example


def check_example(shape: Any) -> None:
    """Raises a ``ValueError`` unless this is the shape of one example that fits into memory."""
    if not isinstance(shape, tuple | list) or not shape:
        raise ValueError(f"shape must be a tuple such as (32, 32, 3), got {shape!r}")
    for size in shape:
        Count().check("shape", size)
    if math.prod(shape) > _LARGEST:
        raise ValueError(f"shape must have at most {_LARGEST:,} numbers, got {shape}")


def parse(config: Mapping[str, Any]) -> Parts:
    """The parts of the config; an error of any class if it is not one of :func:`export`."""
    module = _module_from_json(config["network"])
    found = preconditioning.Preconditioning(**{n: _from_json(part) for n, part in config["preconditioning"].items()})
    one = jax.ShapeDtypeStruct((), jnp.float32)
    for name, function in (
        ("schedule", found.schedule.log_snr),
        ("target", lambda t: found.target.eps_scale(t, found.schedule)),
        ("noise_input", found.noise_input),
        ("sigma_data", lambda log_snr: log_snr * (found.sigma_data or 1.0)),
    ):
        if jax.eval_shape(function, one).shape != ():
            raise ValueError(f"{name} must hold single numbers, got {getattr(found, name)}")
    if found.sigma_data is not None:
        Between(0, open="low").check("sigma_data", found.sigma_data)
    shape = config["shape"]
    if shape is None:
        raise ValueError("shape must be known, to check the parameters: give it to load, got None")
    check_example(shape)
    autoencoder = _module_from_json(config["autoencoder"]) if "autoencoder" in config else None
    return Parts(module, found, tuple(shape), autoencoder)


def _fields_of(module: nn.Module | type[nn.Module]) -> list[str]:
    kind = module if isinstance(module, type) else type(module)
    return [name for name in inspect.signature(kind).parameters if name not in ("parent", "name")]


def module_to_json(module: nn.Module) -> dict[str, Any]:
    values = {name: getattr(module, name) for name in _fields_of(module)}
    if "dtype" in values:
        values["dtype"] = jnp.dtype(values["dtype"]).name
    for name, value in values.items():
        try:
            json.dumps(value)
        except TypeError:
            raise ValueError(f"module must have attributes that are JSON, got {name}={value!r}") from None
    return {"kind": type(module).__name__, **values}


def _module_from_json(values: Mapping[str, Any]) -> nn.Module:
    given = dict(values)
    name = given.pop("kind")
    kind = getattr(networks, name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"kind must be a network of scorekit.networks, got {name!r}")
    hints, fields = get_type_hints(kind), _fields_of(kind)
    for field, value in given.items():
        if field not in fields:
            raise ValueError(f"network must have the fields {', '.join(fields)}, got {field!r}")
        allowed = value in _DTYPES if field == "dtype" else _is(value, hints[field])
        if not allowed:
            of = ", ".join(_DTYPES) if field == "dtype" else getattr(hints[field], "__name__", hints[field])
            raise ValueError(f"{field} must be of {of}, got {value!r}")
        if any(size > _LONGEST for size in jax.tree.leaves(value) if isinstance(size, int)):
            raise ValueError(f"{field} must be at most {_LONGEST:,}, got {value!r}")
        given[field] = jnp.dtype(value) if field == "dtype" else _frozen(value)
    return kind(**given)


_LONGEST = 2**20  # integers of a network, such as its blocks and words
_DTYPES = ("bfloat16", "float16", "float32", "float64")


def _is(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of the annotated type of an attribute."""
    hint = getattr(hint, "__origin__", hint) if hasattr(hint, "__metadata__") else hint
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str)  # the network itself names the others
    if get_origin(hint) in (tuple, Sequence):
        return isinstance(value, list) and all(_is(part, get_args(hint)[0]) for part in value)
    if hint is float:
        return type(value) in (int, float) and abs(value) < math.inf
    return type(value) is int if hint is int else hint is Any or isinstance(value, get_origin(hint) or hint)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def to_json(name: str, value: Any) -> Any:
    """A dataclass as its fields and the name of its class, an array as lists of numbers."""
    if type(value).__name__ in _KINDS:
        fields = {f.name: to_json(f"{name}.{f.name}", getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if value is None or isinstance(value, int | float | str):
        return value
    if isinstance(value, np.ndarray | jax.Array):
        return np.asarray(value, np.float64).tolist()
    raise ValueError(f"{name} must be one of {', '.join(_KINDS)}, or numbers, got {value!r}")


_DEEPEST = 6  # schedules of schedules: the time of some grows exponentially


def _from_json(value: Any, depth: int = 0) -> Any:
    if isinstance(value, list):
        return jnp.asarray(value, float)
    if isinstance(value, bool):
        raise ValueError(f"preconditioning must hold numbers, got {value}")
    if not isinstance(value, dict):
        return value
    if depth > _DEEPEST:
        raise ValueError(f"preconditioning must hold at most {_DEEPEST} parts within each other")
    parts = {name: _from_json(part, depth + 1) for name, part in value.items() if name != "kind"}
    return _KINDS[value["kind"]](**parts)

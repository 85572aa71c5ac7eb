"""Conditions beside the class, each computed from a clean example: what a network may be told about it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.config import Config, ConfigError, require, resolve
from scorekit.guidance import operators
from scorekit.typing import Array

Extract = Callable[[Array], Array]


def average_pool(factor: int = 2) -> Extract:
    """Images to their means over squares of ``factor`` pixels: a low-resolution copy."""
    return operators.average_pool(factor)


def moments() -> Extract:
    """Any examples to their mean and standard deviation over all values, ``(B, 2)``: brightness and contrast."""

    def both(x):
        flat = x.reshape(x.shape[0], -1)
        return jnp.stack([flat.mean(1), flat.std(1)], axis=1)

    return both


MAPS: Mapping[str, Callable] = {"average_pool": average_pool, "none": lambda: None}
VECTORS: Mapping[str, Callable] = {"moments": moments, "none": lambda: None}


def build_conditions(config: Config) -> dict[str, Extract]:
    """What the network is told beside the class, by the network's name for it."""
    found = {"vector": resolve(config, "data.vector", VECTORS), "dense_map": resolve(config, "data.map", MAPS)}
    return {name: extract for name, extract in found.items() if extract is not None}


def dropout_rates(config: Config) -> dict[str, float]:
    """The probability of dropping each condition by itself."""
    loss, names = config.loss, build_conditions(config)
    extra = {"vector": loss.vector_dropout, "dense_map": loss.map_dropout}
    return {"labels": loss.label_dropout, **{name: extra[name] for name in names}}


def check_dropout(config: Config) -> None:
    """Refuses rates that are no probabilities, and rates for conditions that the config does not have."""
    for field in ("label_dropout", "vector_dropout", "map_dropout", "joint_dropout"):
        require(0 <= config.loss[field] <= 1, f"loss.{field}", config.loss[field], "in [0, 1]")


def shape_of(extract: Extract | None, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of one example's condition.

    Raises:
      ConfigError: for examples that do not have it.
    """
    if extract is None:
        return None
    try:
        return jax.eval_shape(extract, jax.ShapeDtypeStruct((1, *shape), jnp.float32)).shape[1:]
    except ValueError as error:
        raise ConfigError(f"config.data.map: {error}") from error


def sizes(found: Mapping[str, Extract], shape: tuple[int, ...]) -> dict[str, Any]:
    """``vector_size`` and ``map_shape`` of a network for examples of this shape."""
    vector = shape_of(found.get("vector"), shape)
    return {"vector_size": vector and math.prod(vector), "map_shape": shape_of(found.get("dense_map"), shape)}

"""Conditions apart from the class, computed from a batch of clean examples: a vector, a dense map, and tokens."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

from experiments.cli.config import Config, ConfigError, call, check_arguments, choice, lookup, require, resolve
from experiments.data.dataset import Dataset, preprocess, rows_of
from scorekit.typing import Array

Extract = Callable[[Mapping[str, Any]], Array]
"""Takes a preprocessed batch: ``x`` as the network receives it, ``raw`` and the other fields as they are stored."""

SECTIONS = {"vector": "vector", "dense_map": "map", "tokens": "tokens"}
"""The sections of ``config.data`` by the network's names for what they describe."""


def none() -> None:
    """No such condition."""


def choices(kind: type[Dataset] | Dataset) -> dict[str, Mapping[str, Callable]]:
    """The choices that a kind of data offers, by the network's names."""
    offered = {"vector": kind.vectors, "dense_map": kind.maps, "tokens": kind.tokens}
    return {name: {"none": none, **table} for name, table in offered.items()}


def check(config: Config, kind: type[Dataset]) -> None:
    """Validates the conditions, as far as this is possible without the data."""
    for name, table in choices(kind).items():
        field = f"data.{SECTIONS[name]}"
        chosen = choice(f"{field}.name", lookup(config, field).name, table)
        reads_fields = chosen == "none" or chosen in kind.from_fields
        of = "one that does not read the example itself, which is a latent here"
        require(reads_fields or not config.data.latents, f"{field}.name", chosen, of)
        selected = f"{field}.name={chosen}"
        if "dataset" in inspect.signature(table[chosen]).parameters:
            check_arguments(config, field, selected, table[chosen], ["dataset"])
        else:
            call(config, field, selected, table[chosen])


def build_conditions(config: Config, dataset: Dataset) -> dict[str, Extract]:
    """The conditions of the network apart from the class, by the network's names."""
    found = {
        name: resolve(config, f"data.{SECTIONS[name]}", table, dataset=dataset)
        for name, table in choices(dataset).items()
    }
    return {name: extract for name, extract in found.items() if extract is not None}


def sizes(extracts: Mapping[str, Extract], dataset: Dataset) -> dict[str, Any]:
    """``vector_size``, ``map_shape`` and ``token_size`` of a network for the examples of this set."""
    one = preprocess(dataset, rows_of(dataset.test, slice(1)))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, extract in extracts.items():
        try:
            shapes[name] = jax.eval_shape(extract, one).shape[1:]
        except (KeyError, ValueError) as error:
            why = f"{dataset.name} has no field {error}" if isinstance(error, KeyError) else error
            raise ConfigError(f"config.data.{SECTIONS[name]}: {why}") from error
    vector, tokens = shapes.get("vector"), shapes.get("tokens")
    sizes = {"vector_size": vector and math.prod(vector), "map_shape": shapes.get("dense_map")}
    return {**sizes, "token_size": tokens and tokens[-1]}

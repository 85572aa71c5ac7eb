"""Conditions apart from the class, computed from a batch of clean examples: a vector, a dense map, and tokens."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

from experiments.cli.choices import Choices
from experiments.cli.config import Config, ConfigError, choice, lookup, require
from experiments.data.dataset import Dataset, preprocess, rows_of
from scorekit.typing import Array

Extract = Callable[[Mapping[str, Any]], Array]
"""Takes a preprocessed batch: ``x`` as the network receives it, ``raw`` and the other fields as they are stored."""

SECTIONS = {"vector": "vector", "dense_map": "map", "tokens": "tokens"}
"""The sections of ``config.data`` by the network's names for what they describe."""


def none() -> None:
    """No such condition."""


def _table(words: str, **places: str) -> Choices:
    inside = {name: f"experiments.data.{place}" for name, place in places.items()}
    return Choices({"none": none, **dict(sorted(inside.items()))}, "none", words, ("dataset",))


TABLES = {
    "vector": _table(
        "A vector as a condition, computed from the example.",
        augmentation="transforms:Labels",
        caption="captions:Pooled",
        columns="vectors.tables:Columns",
        embedding="embeddings:Embedding",
        moments="dataset:moments",
        pitch_velocity="notes:pitch_velocity",
    ),
    "dense_map": _table(
        "A dense map as a condition, likewise.",
        average_pool="images:average_pool",
        log_mel="sounds:log_mel",
        low_passed="sounds:low_passed",
        low_rate="sounds:low_rate",
        mel_magnitudes="sounds:mel_magnitudes",
        piano_roll="phrases:piano_roll",
        pixelated="images:pixelated",
        pulses="notes:pulses",
        sequence="vectors.tables:Sequence",
        tones="phrases:tones",
    ),
    "tokens": _table(
        "Tokens as a condition, for cross-attention: the caption of a picture, or a set.",
        captions="captions:Tokens",
        set="vectors.tables:Elements",
    ),
}
"""The conditions by the network's names; a kind of data has the names of those that it offers."""


def check(config: Config, kind: type[Dataset]) -> None:
    """Validates the conditions, as far as this is possible without the data."""
    for name, offered in (("vector", kind.vectors), ("dense_map", kind.maps), ("tokens", kind.tokens)):
        field, table = f"data.{SECTIONS[name]}", TABLES[name]
        chosen = choice(f"{field}.name", lookup(config, field).name, ("none", *sorted(offered)))
        reads_fields = chosen == "none" or chosen in kind.from_fields
        of = "one that does not read the example itself, which is a latent here"
        require(reads_fields or not config.data.latents, f"{field}.name", chosen, of)
        if "dataset" in inspect.signature(table[chosen]).parameters:
            table.values(config, field, f"{field}.name={chosen}", chosen)
        else:
            table.build(config, field)


def build_conditions(config: Config, dataset: Dataset) -> dict[str, Extract]:
    """The conditions of the network apart from the class, by the network's names."""
    built = {name: table.build(config, f"data.{SECTIONS[name]}", dataset=dataset) for name, table in TABLES.items()}
    return {name: extract for name, extract in built.items() if extract is not None}


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

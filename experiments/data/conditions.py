"""Conditions apart from the class, computed from a batch of clean examples: a vector, a dense map, and tokens."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

from experiments.cli.choices import Choices
from experiments.cli.config import Config, ConfigError, choice, lookup, require
from experiments.cli.fields import Section
from experiments.data import captions, embeddings
from experiments.data.builders import DATA_DIR
from experiments.data.dataset import Dataset, preprocess, rows_of
from scorekit.typing import Array

Extract = Callable[[Mapping[str, Any]], Array]
"""Takes a preprocessed batch: ``x`` as the network receives it, ``raw`` and the other fields as they are stored."""

SECTIONS = {"vector": "vector", "dense_map": "map", "tokens": "tokens"}
"""The sections of ``config.conditions`` by the network's names for what they describe."""


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


FIELDS = Section(
    map=TABLES["dense_map"],
    vector=TABLES["vector"],
    tokens=TABLES["tokens"],
    captions=captions.FIELDS,
    embeddings=embeddings.FIELDS,
)
"""The section ``conditions`` of a config."""


def on_captions(config: Config) -> bool:
    """Whether captions are a condition."""
    given = config.get("conditions")
    return given is not None and (
        given.get("tokens", {}).get("name") == captions.TOKENS or given.vector.name == captions.POOLED
    )


def source_of(config: Config) -> captions.Source:
    """The encoder of captions of a config."""
    given = config.conditions.captions
    return captions.Source(given.encoder, given.length, config.data.get("data_dir") or DATA_DIR)


def captions_of(config: Config) -> captions.Source | None:
    """The encoder of captions, where they are a condition; else None."""
    if on_captions(config):
        return source_of(config)
    for field, value in config.get("conditions", {}).get("captions", {}).items():
        require(value is None, f"conditions.captions.{field}", value, "left out: no condition is of captions")
    return None


def mel_of(config: Config) -> dict[str, Any] | None:
    """The arguments of the log-mel spectrogram, where it is the map; else None."""
    chosen = config.get("conditions", {}).get("map", {})
    if chosen.get("name") != "mel_magnitudes":
        return None
    return {name: value for name, value in chosen.items() if name != "name" and value is not None}


def check(config: Config, dataset: Dataset) -> None:
    """Validates that the data offer the conditions that are chosen."""
    offers = {"vector": dataset.vectors, "dense_map": dataset.maps, "tokens": dataset.tokens}
    for name, offered in offers.items():
        field = f"conditions.{SECTIONS[name]}.name"
        if SECTIONS[name] in config.conditions:
            choice(field, lookup(config, field), ("none", *sorted(offered)))
    if "vector" in config.conditions:
        augment, vector = config.data.get("augment"), config.conditions.vector.name
        allowed = "edm with conditions.vector.name=augmentation, neither without the other"
        require((augment == "edm") == (vector == "augmentation"), "data.augment", augment, allowed)


def check_latents(config: Config, dataset: Dataset) -> None:
    """Validates that no condition is computed from the examples, which are latents."""
    for section in SECTIONS.values():
        field = f"conditions.{section}.name"
        chosen = lookup(config, field)
        of = "one that does not read the example itself, which is a latent here"
        require(chosen == "none" or chosen in dataset.from_fields, field, chosen, of)


def build_conditions(config: Config, dataset: Dataset) -> dict[str, Extract]:
    """The conditions of the network apart from the class, by the network's names."""
    built = {
        name: table.build(config, f"conditions.{SECTIONS[name]}", dataset=dataset) for name, table in TABLES.items()
    }
    return {name: extract for name, extract in built.items() if extract is not None}


def sizes(extracts: Mapping[str, Extract], dataset: Dataset) -> dict[str, Any]:
    """``vector_size``, ``map_shape`` and ``token_size`` of a network for the examples of this set."""
    if not extracts:
        return dict.fromkeys(("vector_size", "map_shape", "token_size"))
    one = preprocess(dataset, rows_of(dataset.test, slice(1)))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, extract in extracts.items():
        try:
            shapes[name] = jax.eval_shape(extract, one).shape[1:]
        except (KeyError, ValueError) as error:
            why = f"{dataset.name} has no field {error}" if isinstance(error, KeyError) else error
            raise ConfigError(f"config.conditions.{SECTIONS[name]}: {why}") from error
    vector, tokens = shapes.get("vector"), shapes.get("tokens")
    sizes = {"vector_size": vector and math.prod(vector), "map_shape": shapes.get("dense_map")}
    return {**sizes, "token_size": tokens and tokens[-1]}

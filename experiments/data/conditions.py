"""Conditions apart from the class, computed from a batch of clean examples: a vector, a dense map, and tokens."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.cli.choices import Choices
from experiments.cli.config import ConfigError, choice, require
from experiments.cli.fields import Field, Section, Text
from experiments.data import captions
from experiments.data.dataset import Dataset, OfField, preprocess, rows_of
from scorekit.typing import Array

Extract = Callable[[Mapping[str, Any]], Array]
"""Takes a preprocessed batch: ``x`` as the network receives it, ``raw`` and the other fields as they are stored."""

EMBEDDING = "embedding"
"""The field of a batch with the embeddings ``(B, D)`` of its images, and the vector made of it."""
SECTIONS = {"vector": "vector", "dense_map": "map", "tokens": "tokens"}
"""The sections of ``config.conditions`` by the network's names for what they describe."""


def none() -> None:
    """No such condition."""


def moments() -> Extract:
    """A vector of any examples: the mean and standard deviation over all values, ``(B, 2)`` (brightness, contrast)."""

    def both(batch):
        flat = batch["x"].reshape(batch["x"].shape[0], -1)
        return jnp.stack([flat.mean(1), flat.std(1)], axis=1)

    return both


class Embedding(OfField):
    """The embedding of the image itself, of mean square 1, by the encoders of ``config.conditions.embeddings``."""

    field = EMBEDDING


def _table(words: str, **places: str) -> Choices:
    inside = {name: f"experiments.data.{place}" for name, place in places.items()}
    return Choices({"none": none, **dict(sorted(inside.items()))}, "none", words, ("dataset",))


TABLES = {
    "vector": _table(
        "A vector as a condition, computed from the example.",
        augmentation="transforms:Labels",
        caption="captions:Pooled",
        columns="vectors.tables:Columns",
        embedding="conditions:Embedding",
        moments="conditions:moments",
        pitch_velocity="sound_sets:pitch_velocity",
    ),
    "dense_map": _table(
        "A dense map as a condition, likewise.",
        average_pool="images:average_pool",
        log_mel="sounds:log_mel",
        low_rate="sounds:low_rate",
        mel_magnitudes="sounds:mel_magnitudes",
        piano_roll="sound_sets:piano_roll",
        pixelated="images:pixelated",
        pulses="sound_sets:pulses",
        sequence="vectors.tables:Sequence",
        tones="sound_sets:tones",
    ),
    "tokens": _table(
        "Tokens as a condition, for cross-attention: the caption of an image, or a set.",
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
    embeddings=Section(
        encoder=Field(
            None,
            Text("a folder"),
            """
            Folder of a run of contrastive encoders, whose embeddings of the images are a condition
            (``vector.name`` is "embedding") or the examples; None is for neither.""",
        ),
        as_examples=Field(None, bool, "The examples are the embeddings, for a prior; None is False."),
    ),
)
"""The section ``conditions`` of a config."""


def check(chosen: Mapping[str, str], dataset: Dataset, augment: str | None) -> None:
    """Validates that the data offer the chosen conditions; ``augment`` is the augmentation of the data."""
    offers = {"vector": dataset.vectors, "dense_map": dataset.maps, "tokens": dataset.tokens}
    for name, value in chosen.items():
        choice(f"conditions.{SECTIONS[name]}.name", value, ("none", *sorted(offers[name])))
    allowed = "edm with conditions.vector.name=augmentation, neither without the other"
    require((augment == "edm") == (chosen.get("vector") == "augmentation"), "data.augment", augment, allowed)


def check_latents(chosen: Mapping[str, str], dataset: Dataset) -> None:
    """Validates that no condition is computed from the examples, which are latents."""
    for name, value in chosen.items():
        of = "one that does not read the example itself, which is a latent here"
        require(value in dataset.from_fields, f"conditions.{SECTIONS[name]}.name", value, of)


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

"""Embeddings of pictures by contrastive encoders: a vector as a condition, or examples themselves, for a prior."""

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from experiments.cli.config import Config, require_field
from experiments.cli.fields import Field, Section, Text
from experiments.data import captions
from scorekit.typing import Array

EMBEDDING = "embedding"
"""The field of a batch with the embeddings ``(B, D)``, and the vector made of it."""


FIELDS = Section(
    encoder=Field(
        None,
        Text("a folder"),
        """
        Folder of a run of contrastive encoders, whose embeddings of the pictures are a condition
        (``vector.name`` is "embedding") or the examples; None is for neither.""",
    ),
    as_examples=Field(None, bool, "The examples are the embeddings, for a prior; None is False."),
)
"""The section ``data.embeddings``."""


def are_examples(config: Config) -> bool:
    """Whether the examples of a config are embeddings."""
    return bool("embeddings" in config.data and config.data.embeddings.as_examples)


class Embedding:
    """The embedding of the picture itself, of mean square 1, by the encoders of ``config.data.embeddings``."""

    from_samples = False

    def __call__(self, batch: Mapping[str, Any]) -> Array:
        return jnp.asarray(batch[EMBEDDING])


def check(config: Config) -> None:
    """Validates the section ``data.embeddings`` of pictures."""
    options = config.data
    if "embeddings" not in options or "vector" not in options:
        return
    encoder, vector, must = options.embeddings.encoder, options.vector.name, functools.partial(require_field, config)
    if are_examples(config):
        given, names = "with data.embeddings.as_examples=True", (captions.POOLED, "none")
        must("data.embeddings.encoder", encoder is not None, f"a folder {given}")
        must("data.vector.name", vector in names, f"{' or '.join(names)} {given}")
        for field in ("map", "tokens"):
            must(f"data.{field}.name", options[field].name == "none", f"none {given}")
        for field in ("latents", "image_crop", "augment"):
            must(f"data.{field}", options[field] is None, f"None {given}")
        return
    allowed = f"a folder for data.vector.name={EMBEDDING}, None without it"
    must("data.embeddings.encoder", (encoder is not None) == (vector == EMBEDDING), allowed)
    must("data.latents", encoder is None or options.latents is None, f"None with data.vector.name={EMBEDDING}")

"""Embeddings of pictures by contrastive encoders: a vector as a condition, or examples themselves, for a prior."""

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from experiments.cli.config import Config, require_field
from experiments.cli.fields import Field, Section, Text
from experiments.data.captions import POOLED
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
"""The section ``conditions.embeddings``."""


def are_examples(config: Config) -> bool:
    """Whether the examples of a config are embeddings."""
    return bool("conditions" in config and config.conditions.embeddings.as_examples)


class Embedding:
    """The embedding of the picture itself, of mean square 1, by the encoders of ``config.conditions.embeddings``."""

    from_samples = False

    def __call__(self, batch: Mapping[str, Any]) -> Array:
        return jnp.asarray(batch[EMBEDDING])


def check(config: Config) -> None:
    """Validates the section ``conditions.embeddings``."""
    given, must = config.conditions, functools.partial(require_field, config)
    encoder, vector, name = given.embeddings.encoder, given.vector.name, "conditions.embeddings.encoder"
    if are_examples(config):
        where, names = "with conditions.embeddings.as_examples=True", (POOLED, "none")
        must(name, encoder is not None, f"a folder {where}")
        must("conditions.vector.name", vector in names, f"{' or '.join(names)} {where}")
        for section in ("map", "tokens"):
            must(f"conditions.{section}.name", given[section].name == "none", f"none {where}")
        must("latents", config.latents is None, f"None {where}")
        for field in ("image_crop", "augment"):
            must(f"data.{field}", config.data.get(field) is None, f"None {where}")
        return
    allowed = f"a folder for conditions.vector.name={EMBEDDING}, None without it"
    must(name, (encoder is not None) == (vector == EMBEDDING), allowed)
    must("latents", encoder is None or config.latents is None, f"None with conditions.vector.name={EMBEDDING}")

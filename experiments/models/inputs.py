"""The data that a network receives: as they are, as latents, or with embeddings."""

import functools
from pathlib import Path

from experiments import data
from experiments.cli.choices import named_object
from experiments.cli.config import Config, require, require_field
from experiments.cli.fields import Field, Text
from experiments.data import conditions
from experiments.data.captions import POOLED
from experiments.data.conditions import EMBEDDING
from experiments.data.dataset import Dataset

LATENTS = Field(
    None,
    Text("a folder"),
    """
    Folder of a run of an autoencoder whose latents are the data, or of those that
    experiments.tasks.latents.precompute wrote; None is the data themselves.""",
)


def load_data(config: Config, workdir: Path | None = None) -> Dataset:
    """The data set of a config, as latents where ``config.latents`` names an autoencoder, with embeddings where
    ``config.conditions.embeddings.encoder`` names contrastive encoders; ``workdir`` is its run, for error messages."""
    given = config.get("conditions")
    if given is not None and "embeddings" in given:
        _check_embeddings(config)
        if given.embeddings.encoder is not None:
            return named_object("experiments.tasks.contrastive.embeddings:with_embeddings")(config, workdir)
    dataset = data.build(config)
    if not config.get("latents"):
        return dataset
    if given is not None:
        conditions.check_latents(data.conditions_of(config), dataset)
    for field in ("augment", "image_crop"):
        allowed = "None for latents, which are of the images as they are"
        require(config.data.get(field) is None, f"data.{field}", config.data.get(field), allowed)
    return named_object("experiments.tasks.latents.latent_data:open_latents")(config, dataset)


def are_embeddings(config: Config) -> bool:
    """Whether the examples of a config are embeddings."""
    return bool("conditions" in config and config.conditions.embeddings.as_examples)


def _check_embeddings(config: Config) -> None:
    """Validates the section ``conditions.embeddings``."""
    given, must = config.conditions, functools.partial(require_field, config)
    encoder, vector, name = given.embeddings.encoder, given.vector.name, "conditions.embeddings.encoder"
    if are_embeddings(config):
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

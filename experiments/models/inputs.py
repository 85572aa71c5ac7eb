"""The data that a network receives: as they are, as latents, or with embeddings."""

from pathlib import Path

from experiments import data
from experiments.cli.choices import named_object
from experiments.cli.config import Config, require
from experiments.cli.fields import Field, Text
from experiments.data import conditions
from experiments.data.dataset import Dataset
from experiments.data.embeddings import check as check_embeddings

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
        check_embeddings(config)
        if given.embeddings.encoder is not None:
            return named_object("experiments.tasks.contrastive.embeddings:with_embeddings")(config, workdir)
    dataset = data.build(config)
    if not config.get("latents"):
        return dataset
    if given is not None:
        conditions.check_latents(config, dataset)
    for field in ("augment", "image_crop"):
        allowed = "None for latents, which are of the images as they are"
        require(config.data.get(field) is None, f"data.{field}", config.data.get(field), allowed)
    return named_object("experiments.tasks.latents.latent_data:open_latents")(config, dataset)

"""The fields of a config of contrastive encoders, with defaults; data and training have those of a model."""

from dataclasses import replace

from experiments import data, training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import declared_by
from experiments.cli.fields import Section
from experiments.configs.base import SEED
from experiments.data import captions
from experiments.models import contrastive

DATA = data.FIELDS.but("embeddings", "latents", "map", "peak", "tokens", vector=captions.POOLED, image_size=32)
"""The section ``data``: pictures, and a vector of each caption."""
FIELDS = Section(
    seed=replace(SEED, meaning="Of the parameters and the batches."),
    data=DATA,
    **contrastive.FIELDS,
    training=training.FIELDS,
)


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    return FIELDS.defaults()


@declared_by(lambda config: FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config is one of contrastive encoders, with its fields within their bounds."""
    if "dual_encoder" not in config:
        raise ConfigError("config.dual_encoder: must be there; a model is trained with experiments.train")
    FIELDS.check(config)

"""The fields of an autoencoder's config, with defaults; data and training have those of a model."""

from experiments import data, training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import declared_by
from experiments.cli.fields import Section
from experiments.configs.base import SEED
from experiments.models import autoencoder

DATA = data.FIELDS.but("captions", "embeddings", "latents", "map", "peak", "tokens", "vector")
"""The section ``data`` of what is trained without conditions."""
FIELDS = Section(seed=SEED, data=DATA, **autoencoder.FIELDS, training=training.FIELDS)


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    return FIELDS.defaults()


@declared_by(lambda config: FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config is one of an autoencoder, with its fields within their bounds."""
    if "autoencoder" not in config:
        raise ConfigError("config.autoencoder: must be there; a model is trained with experiments.train")
    FIELDS.check(config)

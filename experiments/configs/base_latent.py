"""The fields of an autoencoder's config, with defaults; data and training have those of a model."""

from ml_collections import ConfigDict

from experiments import data, training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import Declaration, declared_by
from experiments.cli.ranges import Ranges, check_fields_and_ranges, within
from experiments.configs.base import SEED
from experiments.models import autoencoder


def data_fields() -> ConfigDict:
    """The section ``data`` of what is trained without conditions."""
    section = data.fields()
    for name in ("captions", "embeddings", "latents", "map", "peak", "tokens", "vector"):
        del section[name]
    return section


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    """Of the parameters, the batches and the noise of training."""
    config.data = data_fields()
    config.update(autoencoder.fields())
    config.training = training.fields()
    return config.lock()


def ranges() -> Ranges:
    """The values of the fields."""
    sections = {**within("data", data.RANGES), **within("training", training.RANGES)}
    return {"seed": SEED, **sections, **autoencoder.RANGES}


def declaration() -> Declaration:
    """What declares the fields."""
    return Declaration({"": get_config}, ranges())


@declared_by(declaration)
def check_fields(config: Config) -> None:
    """Validates that a config is one of an autoencoder and has the fields of :func:`get_config`, in their ranges."""
    if "autoencoder" not in config:
        raise ConfigError("config.autoencoder: must be there; a model is trained with experiments.train")
    check_fields_and_ranges(config, get_config(), ranges())

"""The fields of an autoencoder's config, with defaults; data and training have those of a model."""

from ml_collections import ConfigDict

from experiments import data, training
from experiments.cli.config import Config, ConfigError, check_config
from experiments.models import autoencoder


def data_fields() -> ConfigDict:
    """The section ``data`` of what is trained without conditions."""
    section = data.fields()
    for name in ("latents", "map", "peak", "vector"):
        del section[name]
    return section


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    config.data = data_fields()
    for name, section in autoencoder.fields().items():
        config[name] = section
    config.training = training.fields()
    return config.lock()


def check_fields(config: Config) -> None:
    """Validates that a config is one of an autoencoder and has exactly the fields of :func:`get_config`."""
    if "autoencoder" not in config:
        raise ConfigError("config.autoencoder: must be there; a model is trained with experiments.train")
    check_config(config, get_config())

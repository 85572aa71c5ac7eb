"""The fields of a classifier's config, with defaults; data, schedule and training have those of a model."""

from ml_collections import ConfigDict

from experiments import training
from experiments.cli.config import Config, ConfigError, check_config
from experiments.configs.base_latent import data_fields
from experiments.models import classifier


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    config.data = data_fields()
    for name, section in classifier.fields().items():
        config[name] = section
    config.training = training.fields()
    return config.lock()


def check_fields(config: Config) -> None:
    """Validates that a config is one of a classifier and has exactly the fields of :func:`get_config`."""
    if "network" in config:
        raise ConfigError("config.network: this is the config of a model; train it with experiments.train")
    check_config(config, get_config())

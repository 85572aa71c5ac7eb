"""The fields of a classifier's config, with defaults; data, schedule and training have those of a model."""

from experiments import training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import declared_by
from experiments.cli.fields import Section
from experiments.configs.base import SEED
from experiments.configs.base_latent import DATA
from experiments.models import classifier

FIELDS = Section(seed=SEED, data=DATA, **classifier.FIELDS, training=training.FIELDS)


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    return FIELDS.defaults()


@declared_by(lambda config: FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config is one of a classifier, with its fields within their bounds."""
    if "network" in config:
        raise ConfigError("config.network: this is the config of a model; train it with experiments.train")
    FIELDS.check(config)

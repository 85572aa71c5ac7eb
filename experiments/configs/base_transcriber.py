"""The fields of a transcriber's config, with defaults; data and training have those of a model."""

from dataclasses import replace

from experiments import training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import declared_by
from experiments.cli.fields import Section
from experiments.configs.base import SEED
from experiments.configs.base_latent import DATA
from experiments.models import transcriber

FIELDS = Section(
    seed=replace(SEED, meaning="Of the parameters, the batches and the augmentation of training."),
    data=DATA,
    **transcriber.FIELDS,
    training=training.FIELDS,
)


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    return FIELDS.defaults()


@declared_by(lambda config: FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config is one of a transcriber, with its fields within their bounds."""
    if "transcriber" not in config:
        raise ConfigError("config.transcriber: must be there; a model is trained with experiments.train")
    FIELDS.check(config)

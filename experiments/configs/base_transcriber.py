"""The fields of a transcriber's config, with defaults; data and training have those of a model."""

from ml_collections import ConfigDict

from experiments import data, training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import Declaration, declared_by
from experiments.cli.ranges import Ranges, check_fields_and_ranges, within
from experiments.configs.base import SEED
from experiments.configs.base_latent import data_fields
from experiments.models import transcriber


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    """Of the parameters, the batches and the augmentation of training."""
    config.data = data_fields()
    config.update(transcriber.fields())
    config.training = training.fields()
    return config.lock()


def ranges() -> Ranges:
    """The values of the fields."""
    sections = {**within("data", data.RANGES), **within("training", training.RANGES)}
    return {"seed": SEED, **sections, **transcriber.RANGES}


def declaration() -> Declaration:
    """What declares the fields."""
    return Declaration({"": get_config}, ranges())


@declared_by(declaration)
def check_fields(config: Config) -> None:
    """Validates that a config is one of a transcriber and has the fields of :func:`get_config`, in their ranges."""
    if "transcriber" not in config:
        raise ConfigError("config.transcriber: must be there; a model is trained with experiments.train")
    check_fields_and_ranges(config, get_config(), ranges())

"""The fields of a config of contrastive encoders, with defaults; data and training have those of a model."""

from ml_collections import ConfigDict

from experiments import data, training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import Declaration, declared_by
from experiments.cli.ranges import Ranges, check_fields_and_ranges, within
from experiments.configs.base import SEED
from experiments.data import captions
from experiments.models import contrastive


def data_fields() -> ConfigDict:
    """The section ``data``: pictures, and a vector of each caption."""
    section: Config = data.fields()
    for name in ("embeddings", "latents", "map", "peak", "tokens"):
        del section[name]
    section.vector.name, section.image_size = captions.POOLED, 32
    return section


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    """Of the parameters and the batches."""
    config.data = data_fields()
    config.update(contrastive.fields())
    config.training = training.fields()
    return config.lock()


def ranges() -> Ranges:
    """The values of the fields."""
    sections = {**within("data", data.RANGES), **within("training", training.RANGES)}
    return {"seed": SEED, **sections, **contrastive.RANGES}


def declaration() -> Declaration:
    """What declares the fields."""
    return Declaration({"": get_config}, ranges())


@declared_by(declaration)
def check_fields(config: Config) -> None:
    """Validates that a config is one of contrastive encoders, with the fields of :func:`get_config` in their ranges."""
    if "dual_encoder" not in config:
        raise ConfigError("config.dual_encoder: must be there; a model is trained with experiments.train")
    check_fields_and_ranges(config, get_config(), ranges())

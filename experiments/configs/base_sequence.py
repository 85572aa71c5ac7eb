"""The fields of the config of a model of sequences, with defaults; training has those of every model."""

from ml_collections import ConfigDict

from experiments import data, training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import Declaration, declared_by
from experiments.cli.ranges import Ranges, check_fields_and_ranges, within
from experiments.configs.base import SEED
from experiments.evaluation import sequence_metrics
from experiments.models import sequence_sampling, sequences


def data_fields() -> ConfigDict:
    """The section ``data`` of what has classes as its only condition."""
    section = data.fields()
    for name in ("captions", "embeddings", "map", "tokens", "vector"):
        del section[name]
    return section


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    """Of the parameters, the batches and the noise of training."""
    config.data = data_fields()
    config.update(sequences.fields())
    config.training = training.fields()
    config.sampling = sequence_sampling.fields()
    config.evaluation = sequence_metrics.fields()
    return config.lock()


def ranges() -> Ranges:
    """The values of the fields."""
    sections = {
        "data": data.RANGES,
        "training": training.RANGES,
        "sampling": sequence_sampling.RANGES,
        "evaluation": sequence_metrics.RANGES,
    }
    found = {"seed": SEED, **sequences.RANGES}
    for section, fields in sections.items():
        found.update(within(section, fields))
    return found


def declaration() -> Declaration:
    """What declares the fields."""
    return Declaration({"": get_config}, ranges())


@declared_by(declaration)
def check_fields(config: Config) -> None:
    """Validates that a config is one of sequences and has the fields of :func:`get_config`, in their ranges."""
    if "symbols" not in config:
        raise ConfigError("config.symbols: must be there, in the config of a model of sequences")
    check_fields_and_ranges(config, get_config(), ranges())

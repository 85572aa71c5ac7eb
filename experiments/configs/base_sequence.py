"""The fields of the config of a model of sequences, with defaults; training has those of every model."""

from experiments import data, training
from experiments.cli.config import Config, ConfigError
from experiments.cli.config_help import declared_by
from experiments.cli.fields import Section
from experiments.configs.base import SEED
from experiments.evaluation import sequence_metrics
from experiments.models import sequence_sampling, sequences

DATA = data.FIELDS.but("captions", "embeddings", "map", "tokens", "vector")
"""The section ``data`` of what has classes as its only condition."""
FIELDS = Section(
    seed=SEED,
    data=DATA,
    **sequences.FIELDS,
    training=training.FIELDS,
    sampling=sequence_sampling.FIELDS,
    evaluation=sequence_metrics.FIELDS,
)


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    return FIELDS.defaults()


@declared_by(lambda config: FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config is one of sequences, with its fields within their bounds."""
    if "symbols" not in config:
        raise ConfigError("config.symbols: must be there, in the config of a model of sequences")
    FIELDS.check(config)

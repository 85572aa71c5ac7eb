"""The kinds of config that ``experiments.train``, ``sample`` and ``evaluate`` take: of a model, and of sequences."""

from types import ModuleType

from experiments.cli.config import Config, check_config, fill_missing
from experiments.cli.config_help import declared_by
from experiments.configs import base, base_sequence
from experiments.models.runs import config_of


def is_sequence(config: Config | None) -> bool:
    """Whether a config is one of a model of sequences."""
    return config is not None and "symbols" in config


def kind_of(config: Config | None) -> ModuleType:
    """The module with the fields of a config."""
    return base_sequence if is_sequence(config) else base


@declared_by(lambda config: kind_of(config).FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config has the fields of its kind, within their bounds."""
    kind_of(config).check_fields(config)


def saved(workdir: str | None) -> Config:
    """The config of the run in ``workdir``, with fields that were added since at their defaults.

    Raises:
      ConfigError: if there is no run, or one that this version cannot read.
    """
    config = config_of(workdir)
    if not is_sequence(config):
        return base.saved(workdir)
    config = fill_missing(config, base_sequence.get_config())
    check_config(config, base_sequence.get_config())
    return config

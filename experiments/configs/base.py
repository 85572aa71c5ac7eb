"""The fields that every config of a model has, with defaults. Another name may be chosen without clearing the fields of
the first: a field left at None is the default of whatever is named."""

from ml_collections import ConfigDict

from experiments import data, evaluation, models, training
from experiments.cli.config import Config, ConfigError, check_config, fill_missing
from experiments.models.runs import config_of


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    config.data = data.fields()
    for name, section in models.fields().items():
        config[name] = section
    config.training = training.fields()
    config.evaluation = evaluation.fields()
    return config.lock()


def check_fields(config: Config) -> None:
    """Validates that a config is one of a model and has exactly the fields of :func:`get_config`."""
    if "classifier" in config:
        raise ConfigError("config.classifier: this is the config of a classifier; train it with train_classifier")
    check_config(config, get_config())


def saved(workdir: str | None) -> Config:
    """The config of the run of a model in ``workdir``, with fields that were added since at their defaults.

    Raises:
      ConfigError: if there is no run, or one that this version cannot read.
    """
    config = config_of(workdir)
    if "classifier" in config:
        raise ConfigError(
            f"--workdir={workdir}: this run is a classifier; name it as --config.rules.classifier.workdir=… with the "
            f"--workdir of a model"
        )
    fields: Config = config
    if "guidance" not in fields or "representation" not in fields.data:
        raise ConfigError(
            f"--workdir={workdir}: this run was saved by an earlier version, with other fields; train it again, into "
            f"another folder"
        )
    config = fill_missing(config, get_config())
    check_fields(config)
    return config

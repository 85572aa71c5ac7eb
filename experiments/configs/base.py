"""The fields that every config of a model has, with defaults. Another name may be chosen without clearing the fields of
the first: a field left at None is the default of whatever is named."""

from experiments import data, evaluation, models, training
from experiments.cli.config import Config, ConfigError, check_config, fill_missing, lookup
from experiments.cli.config_help import declared_by
from experiments.cli.fields import Field, Section
from experiments.models.runs import config_of
from scorekit.arguments import Count

SEED = Field(0, Count(0, 2**32 - 2), "Of the parameters, the batches and the noise of training.")
"""One below the largest seed of a PRNG key: evaluation uses the next seed."""
FIELDS = Section(seed=SEED, data=data.FIELDS, **models.FIELDS, training=training.FIELDS, evaluation=evaluation.FIELDS)


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    return FIELDS.defaults()


@declared_by(lambda config: FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config is one of a model, with exactly its fields within their bounds."""
    if "classifier" in config:
        raise ConfigError("config.classifier: this is the config of a classifier; train it with train_classifier")
    if "symbols" in config:
        raise ConfigError("config.symbols: this is the config of a model of sequences, for train, sample and evaluate")
    FIELDS.check(config)


ADDED = (
    "data.representation.by_frames",
    "data.tokens",
    "evaluation.exact_examples",
    "evaluation.exact_probes",
    "evaluation.exact_tolerance",
    "evaluation.fid",
    "evaluation.fid.network",
    "evaluation.step_counts",
    "loss.coupling",
    "loss.flow_map",
    "loss.levels",
    "preconditioning",
)
"""Fields that runs of earlier versions were saved without: their defaults are what those runs did."""


def _with_added(config: Config) -> Config:
    defaults = get_config()
    with config.unlocked():
        for path in ADDED:
            section, _, name = path.rpartition(".")
            inside = lookup(config, section) if section else config
            if name not in inside:
                inside[name] = lookup(defaults, path)
    return config


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
    if "symbols" in config:
        raise ConfigError(
            f"--workdir={workdir}: this run is a model of sequences, which this program does not take; sample and "
            f"evaluate do"
        )
    if "dual_encoder" in config:
        raise ConfigError(f"--workdir={workdir}: this run has embeddings and draws nothing; name the run of a model")
    fields: Config = config
    if "guidance" not in fields or "representation" not in fields.data:
        raise ConfigError(
            f"--workdir={workdir}: this run was saved by an earlier version, with other fields; train it again, into "
            f"another folder"
        )
    config = fill_missing(_with_added(config), get_config())
    check_config(config, get_config())  # the values are checked when those of the command line are there
    return config

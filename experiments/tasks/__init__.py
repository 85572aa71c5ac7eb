"""Kinds of model that ``experiments.train`` trains.

A new one is a module like ``tasks/diffusion/task.py`` and a line in :data:`TASKS`.
"""

import importlib
from pathlib import Path
from typing import Any

from experiments.cli import command_line, flags
from experiments.cli.config import Config, ConfigError, choice
from experiments.cli.fields import Section, fields_by
from experiments.models.run_files import config_of
from experiments.tasks.task import Asked, Setup, Task

__all__ = ["TASKS", "Asked", "Setup", "Task", "check_fields", "fields_of", "named", "of", "opened", "saved"]


TASKS = {
    "diffusion": "experiments.tasks.diffusion.task",
    "sequence": "experiments.tasks.sequences.task",
    "classifier": "experiments.tasks.classifier.task",
    "autoencoder": "experiments.tasks.latents.task",
    "dual_encoder": "experiments.tasks.contrastive.task",
    "transcriber": "experiments.projects.audio.transcription.task",
    "translation": "experiments.projects.audio.translation.task",
    "posterior": "experiments.tasks.posterior.task",
    "flow": "experiments.tasks.flows.task",
    "student": "experiments.tasks.flow_maps.task",
}
"""The module of each task by the name in ``config.task``; it is imported when it is named."""


def named(name: str) -> Task:
    """The task of this name."""
    module: Any = importlib.import_module(TASKS[choice("task", name, TASKS)])
    return module


def of(config: Config) -> Task:
    """The task of a config."""
    if "task" not in config:
        raise ConfigError(f"config.task: must be set, to one of {', '.join(TASKS)}")
    return named(config.task)


def fields_of(config: Config | None) -> Section:
    """The fields of a config by its task; without a config the fields of a diffusion."""
    return (named("diffusion") if config is None else of(config)).fields(config)


@fields_by(fields_of)
def check_fields(config: Config) -> None:
    """Validates that a config has the fields of its task, within their bounds."""
    fields_of(config).check(config)


def opened(path: str) -> Config:
    """The config of a file for a new run, which may be the ``config.json`` of another one; small with ``--smoke``."""
    config = command_line.load_config(path)
    if not path.endswith(".py") and ".py:" not in path:
        config = fields_of(config).read(config)
    if flags.smoke():
        from experiments.tasks.small import small  # late: it imports networks

        return small(config)
    return config


def saved(workdir: str | Path | None, *names: str) -> Config:
    """The config of the run in ``workdir``, of one of these tasks (any by default)."""
    if not workdir:
        raise ConfigError("--workdir=… must be given: the folder of a run of experiments.train")
    config = config_of(workdir, f"--workdir={workdir}")
    if names and config.task not in names:
        allowed = " or ".join(names)
        raise ConfigError(f"--workdir={workdir}: this run {of(config).OPENED_BY} (config.task must be {allowed})")
    try:
        return fields_of(config).read(config)  # the values are checked once the command line has been read
    except ConfigError as error:
        if "this field is missing" not in str(error):
            raise
        advice = "train the run again, into another folder"
        raise ConfigError(f"--workdir={workdir}: {error}; its config.json lacks it: {advice}") from error

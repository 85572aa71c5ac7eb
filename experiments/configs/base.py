"""The fields that a config of every task has, with defaults; a config file overwrites what it needs.

A section that is chosen by its field ``name`` has the fields of the choice; another name drops those that it lacks. A
field left at None is the default of the choice.
"""

from experiments import tasks
from experiments.cli.config import Config, ConfigError, hint


def get_config(task: str = "diffusion") -> Config:
    """The common defaults of a task."""
    return tasks.named(task).fields().defaults()


def check_argument(argument: str, *allowed: str) -> None:
    """Validates the argument of a config file, ``--config=file.py:argument``; without one it is empty.

    >>> check_argument("bond", "band", "latents")
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: --config=….py:bond: must be band or latents, or nothing (did you mean band?)
    """
    if argument not in ("", *allowed):
        words = f"must be {' or '.join(allowed)}, or nothing{hint(argument, allowed)}"
        raise ConfigError(f"--config=….py:{argument}: {words}")

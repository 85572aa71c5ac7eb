"""Whether two runs are of the same data."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.cli.config import Config, ConfigError

PICTURES = ("name", "path", "image_mode")
SPLITS = ("train_split", "test_split")
"""Fields of ``config.data`` that say which pictures there are, with their captions, and which of them are held out."""


def check(config: Config, other: Config, given: str, of: str, fields: Sequence[str] = (*PICTURES, *SPLITS)) -> None:
    """Validates that a run has the data of another one; nothing is loaded.

    Folders of pictures may move: another path is a warning.

    Args:
      config: of the run.
      other: of the one to compare with.
      given: the run, for the error message.
      of: the other one, likewise.
      fields: of ``config.data`` that are compared, with dots in sections.

    Raises:
      ConfigError: naming both, the first field that differs, and its values.
    """
    for field in fields:
        ours, theirs = (_value(one, field) for one in (config, other))
        if field == "path" and ours != theirs:
            warnings.warn(f"{given}: has config.data.path={ours}, {of} has {theirs}", stacklevel=2)
        elif ours != theirs and not (field == "image_mode" and None in (ours, theirs)):
            raise ConfigError(f"{given}: must be of the data of {of}, config.data.{field}={theirs}; it has {ours}")


def _value(config: Config, field: str) -> Any:
    value = config.data
    for part in field.split("."):
        value = value.get(part)
    if field == "label" and value is None:
        return "none"
    return str(Path(value).expanduser().absolute()) if field == "path" and value is not None else value

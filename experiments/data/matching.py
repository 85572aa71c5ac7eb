"""Whether two runs are of the same data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.cli.config import Config, ConfigError

PICTURES = ("name", "path", "image_mode")
SPLITS = ("train_split", "test_split")
"""Fields of ``config.data`` that say which pictures there are, with their captions, and which of them are held out."""


def check(config: Config, other: Config, given: str, of: str, fields: Sequence[str] = (*PICTURES, *SPLITS)) -> None:
    """Validates that a run has the data of another one; nothing is loaded.

    Args:
      config: of the run.
      other: of the one to compare with.
      given: the run, for the error message.
      of: the other one, likewise.
      fields: of ``config.data`` that are compared.

    Raises:
      ConfigError: naming both, the first field that differs, and its values.
    """
    for field in fields:
        ours, theirs = (_value(one, field) for one in (config, other))
        if ours != theirs:
            raise ConfigError(f"{given}: must be of the data of {of}, config.data.{field}={theirs}; it has {ours}")


def _value(config: Config, field: str) -> Any:
    value = config.data.get(field)
    return str(Path(value).expanduser().absolute()) if field == "path" and value is not None else value

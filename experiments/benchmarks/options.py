"""Flags of programs with several tables, whose defaults depend on the table."""

from collections.abc import Mapping
from typing import Any

from absl import flags


def with_defaults(usual: Mapping[str, Any]) -> flags.FlagValues:
    """The flags of this program; those that are None have the value in ``usual``."""
    for name, value in usual.items():
        if flags.FLAGS[name].value is None:
            flags.FLAGS[name].value = value
    return flags.FLAGS

"""Flags of programs with several tables: defaults that depend on the table, and names out of one."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from experiments.cli.config import ConfigError, hint

_CONFIGS = Path(__file__).parents[1] / "configs"
PUBLISHED = [str(path) for path in sorted(_CONFIGS.glob("published/[a-z]*.py"))]
"""Config files of published recipes."""
LARGE = [str(path) for path in sorted(_CONFIGS.glob("*/*_gpu.py"))]
"""Config files of other recipes for accelerators."""


def with_defaults(usual: Mapping[str, Any]) -> flags.FlagValues:
    """The flags of this program; those that are None have the value in ``usual``."""
    for name, value in usual.items():
        if flags.FLAGS[name].value is None:
            flags.FLAGS[name].value = value
    return flags.FLAGS


def chosen(flag: str, names: Sequence[str], known: Iterable[str]) -> list[str]:
    """The names that a flag holds, of which each must be known; ``all`` stands for all of them.

    >>> chosen("solvers", ["all"], {"DDIM": 1, "Heun": 2})
    ['DDIM', 'Heun']
    """
    known = list(known)
    for name in names:
        if name not in ("all", *known):
            raise ConfigError(f"--{flag}={name}: must be some of {', '.join(known)}{hint(name, known)}")
    return known if "all" in names else list(names)

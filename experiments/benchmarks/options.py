"""Names out of a table, in a flag."""

from collections.abc import Iterable, Sequence

from experiments.cli.config import ConfigError, hint


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

"""``--help``: the flags of a program; ``--help_config``: the fields of its config, for a terminal."""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from experiments.cli.config import Config, ConfigError, lookup, to_text
from experiments.cli.fields import Option, Row

WIDTH = 100
"""Columns."""
REQUIRED = inspect.Parameter.empty
"""The default of an argument without one."""


def in_sections(rows: Iterable[Row]) -> list[Row]:
    """The fields of no section first."""
    return sorted(rows, key=lambda row: _section(row) != "config")


def _section(row: Row) -> str:
    return row.path.split(".")[0] if "." in row.path or row.choices else "config"


def matching(found: Iterable[Row], pattern: str) -> list[Row]:
    """The fields whose path or choices contain ``pattern``: all choices of a field, or those that match alone."""
    word, kept, groups = pattern.lower(), [], dict[str, None]()
    for field in found:
        groups[field.path.split(".")[0]] = None
        named = lambda choice: any(word in name.lower() for name in (choice.name, *(a.path for a in choice.arguments)))
        if word in field.path.lower():
            kept.append(field)
        elif choices := tuple(filter(named, field.choices)):
            kept.append(field._replace(choices=choices))
    if not kept:
        raise ConfigError(
            f"--help_config={pattern}: no field or choice has this in its name; there are {', '.join(groups)}"
        )
    return kept


def as_text(found: Iterable[Row], config: Config | None = None, *, detailed: bool = False) -> str:
    """The fields for a terminal, at most :data:`WIDTH` columns, with the values of a config if one is given.

    ``detailed`` shows the arguments of choices with their meaning, one a line.
    """
    lines, group = [], None
    for field in found:
        if (section := _section(field)) != group:
            lines += ["", f"{section} {'-' * (WIDTH - 1 - len(section))}"]
            group = section
        if field.choices:
            a_name = "one of those below" + ", or None" * (field.default is None)
            field = field._replace(allowed=a_name if field.path.endswith(".name") else "a section for each")
        lines += _wrapped(_assigned(field, field.path, config), "  ", "      ")
        lines += _wrapped(field.meaning, "      ")
        for choice in field.choices:
            chosen = choice.name == _value(config, field.path, field.default)
            own = config if chosen else None
            given = [_assigned(one, _short(field, choice, one), own) for one in choice.arguments]
            packed = f" [{'; '.join(given)}]" if given and not detailed else ""
            lines += _wrapped(f"{'*' if chosen else '-'} {choice.name}: {choice.meaning}{packed}", "    ", "        ")
            for argument, text in zip(choice.arguments, given if detailed else (), strict=False):
                lines += _wrapped(f"{text}: {argument.meaning}", "        ", "            ")
    return "\n".join(lines[1:])


def _short(field: Row, choice: Option, argument: Row) -> str:
    """The path of an argument inside the section of its choice."""
    return argument.path.removeprefix(f"{field.path.removesuffix('.name')}.").removeprefix(f"{choice.name}.")


def _assigned(row: Row, name: str, config: Config | None) -> str:
    """A field with its value, its default where that is another one, and what is allowed."""
    value = _value(config, row.path, row.default)
    if value is REQUIRED:
        return f"{name} ({row.allowed}; required)"
    default = f" (default {text_of(row.default)})" if value != row.default else ""
    return f"{name} = {text_of(value)}{default} ({row.allowed})"


def _value(config: Config | None, path: str, default: Any) -> Any:
    try:
        value = lookup(config or ConfigDict(), path)
    except (KeyError, TypeError):  # a choice of other fields
        return default
    return default if value is None or isinstance(value, ConfigDict) else value


def text_of(value: Any) -> str:
    return ",".join(map(to_text, value)) or "()" if isinstance(value, tuple) else to_text(value)


def without_roles(text: str) -> str:
    """Sphinx's ``:func:`~module.name``` as ``name`` in backquotes.

    >>> without_roles("see :func:`scorekit.sample` and :class:`~scorekit.Heun`")
    'see `scorekit.sample` and `Heun`'
    """
    return re.sub(r":\w+:`(?:~[\w.]*\.)?", "`", text)


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    rest, plain = first if rest is None else rest, without_roles(text).replace("`", "")
    return textwrap.TextWrapper(WIDTH, first, rest, break_long_words=False, break_on_hyphens=False).wrap(plain)


def describe(check: Callable, config: Config | None, pattern: str) -> str:
    """The text of ``--help_config``: the fields that match, and how to see fewer or to set one."""
    if not hasattr(check, "fields"):
        raise ConfigError("--help_config: this program has no config; --help has its flags")
    rows = in_sections(check.fields(config).rows())
    text = as_text(matching(rows, pattern) if pattern else rows, config, detailed=bool(pattern))
    first = "field = value (its type and range); * marks the choice of this config"
    first += "" if pattern else "\n--help_config=solver explains the fields of that name, with their choices"
    return f"{first}\n\n{text}\n\nset one as --config.training.steps=5"


def flags_text(values: flags.FlagValues, text: str) -> str:
    """The text of ``--help``: the program's docstring and its own flags, without the flags of absl.

    Args:
      values: the flags, of which modules of ``experiments`` and the program have defined the program's.
      text: the docstring of the program.
    """
    modules = values.flags_by_module_dict().items()
    own = [flag for name, some in modules if name == sys.argv[0] or name.startswith("experiments.") for flag in some]
    lines = []
    for flag in sorted({flag.name: flag for flag in own}.values(), key=lambda flag: flag.name):
        default = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
        value = f" ({'on' if default else 'off'})" if flag.boolean else f"={'…' if default is None else default}"
        row = f"--{'[no]' * flag.boolean}{flag.name}{value}  {flag.help}"
        lines += textwrap.wrap(row, WIDTH, initial_indent="  ", subsequent_indent=" " * 6)
    last = "--help_config prints the fields of the config; --helpfull also prints the flags of absl"
    return "\n".join([text.strip(), "", "Flags, with their defaults:", *lines, "", last])

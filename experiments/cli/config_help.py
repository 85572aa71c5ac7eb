"""``--help``: the flags of a program; ``--help_config``: the fields of its config, for a terminal or in Markdown."""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from experiments.cli.config import Config, ConfigError, to_text
from experiments.cli.fields import Option, Row

WIDTH = 100
"""Columns."""
TOP = "config"
"""The heading of fields of no section."""
REQUIRED = inspect.Parameter.empty
"""The default of an argument without one."""
_ABSENT = object()


def rows_of(check: Callable, config: Config | None = None) -> list[Row]:
    """The fields of the config that ``check`` validates, sections together."""
    if not hasattr(check, "fields"):
        raise ConfigError("--help_config: this program has no config; --help has its flags")
    return in_sections(check.fields(config).rows())


def in_sections(rows: Iterable[Row]) -> list[Row]:
    """The fields of no section first."""
    return sorted(rows, key=lambda row: _section(row) != TOP)


def _section(row: Row) -> str:
    return row.path.split(".")[0] if "." in row.path or row.choices else TOP


def matching(found: Iterable[Row], pattern: str) -> list[Row]:
    """The fields whose path or choices contain ``pattern``: all choices of a field, or those that match alone."""
    word, kept, paths = pattern.lower(), [], []
    for field in found:
        paths += [field.path]
        if word in field.path.lower():
            kept.append(field)
        elif choices := tuple(c for c in field.choices if word in c.name.lower() or _takes(c, word)):
            kept.append(field._replace(choices=choices))
    if not kept:
        groups = ", ".join(dict.fromkeys(path.split(".")[0] for path in paths))
        raise ConfigError(f"--help_config={pattern}: no field or choice has this in its name; there are {groups}")
    return kept


def _takes(choice: Option, word: str) -> bool:
    return any(word in argument.path.lower() for argument in choice.arguments)


# ---- text ------------------------------------------------------------------------------------------------------------


def as_text(found: Iterable[Row], config: Config | None = None, *, detailed: bool = False) -> str:
    """The fields for a terminal, at most :data:`WIDTH` columns, with the values of a config if one is given.

    ``detailed`` shows the arguments of choices with their meaning, one a line.
    """
    lines, group = [], None
    for field in found:
        if (section := _section(field)) != group:
            lines += ["", f"{section} {'-' * (WIDTH - 1 - len(section))}"]
            group = section
        allowed = field.allowed or f"one of the {len(field.choices)} below" if field.default is not None else ""
        if field.choices and field.default is None:
            allowed = "unset, or one of the choices below" if field.path.endswith(".name") else "a section for each"
        head = field.path + _shown(_value(config, field.path, field.default), field.default)
        lines += _wrapped(f"{head}  ({allowed or field.allowed})", "  ", "      ")
        lines += _wrapped(field.meaning, "      ")
        chosen = _value(config, field.path, field.default)
        for choice in field.choices:
            lines += _choice(choice, config, detailed, "*" if choice.name == chosen else "-")
    return "\n".join(lines[1:])


def _choice(choice: Option, config: Config | None, detailed: bool, mark: str) -> Iterator[str]:
    arguments = [_argument(argument, config if mark == "*" else None) for argument in choice.arguments]
    packed = "" if detailed or not arguments else f" [{'; '.join(arguments)}]"
    yield from _wrapped(f"{mark} {choice.name}: {_plain(choice.meaning)}{packed}", "    ", "        ")
    if detailed:
        for argument, text in zip(choice.arguments, arguments, strict=True):
            meaning = f": {_plain(argument.meaning)}" if argument.meaning else ""
            yield from _wrapped(text + meaning, "        ", "            ")


def _argument(argument: Row, config: Config | None) -> str:
    value = _value(config, argument.path, None)
    default = _text(argument.default)
    shown = default if value is None else f"{_text(value)} (default {default})"
    name = argument.path.rpartition(".")[2]
    return f"{name} ({argument.allowed}; required)" if shown == "" else f"{name} = {shown} ({argument.allowed})"


def _value(config: Config | None, path: str, default: Any) -> Any:
    holder = config
    for name in path.split(".") if config is not None else ():
        holder = holder.get(name, _ABSENT) if isinstance(holder, ConfigDict) else _ABSENT
    return default if holder is None or holder is _ABSENT or isinstance(holder, ConfigDict) else holder


def _shown(value: Any, default: Any) -> str:
    return f" = {_text(value)}" + (f"  (default {_text(default)})" if value != default else "")


def _text(value: Any) -> str:
    if value is REQUIRED:
        return ""
    return ",".join(map(to_text, value)) or "()" if isinstance(value, tuple) else to_text(value)


def _plain(text: str) -> str:
    return _without_roles(text).replace("``", "").replace("`", "")


def _without_roles(text: str) -> str:
    """Sphinx's ``:func:`~module.name``` as ``name`` in backquotes.

    >>> _without_roles("see :func:`scorekit.sample` and :class:`~scorekit.Heun`")
    'see `scorekit.sample` and `Heun`'
    """
    return re.sub(r":\w+:`(?:~[\w.]*\.)?", "`", text)


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    rest = first if rest is None else rest
    return textwrap.TextWrapper(WIDTH, first, rest, break_long_words=False, break_on_hyphens=False).wrap(_plain(text))


def describe(check: Callable, config: Config | None, pattern: str) -> str:
    """The text of ``--help_config``: the fields that match, and how to see fewer or to set one."""
    every = rows_of(check, config)
    found = matching(every, pattern) if pattern else every
    total = sum(1 for field in every) + sum(len(choice.arguments) for field in every for choice in field.choices)
    last = (
        "set one as --config.training.steps=5"
        if pattern
        else f"{total} fields; set one as --config.training.steps=5; --help_config=solver explains those of that name"
    )
    first = "field = value  (its type and range); * marks the choice of this config"
    first += "" if pattern else "\n--help_config=solver explains the fields of that name, with their choices"
    return f"{first}\n\n{as_text(found, config, detailed=bool(pattern))}\n\n{last}"


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


# ---- Markdown --------------------------------------------------------------------------------------------------------


def as_markdown(found: Iterable[Row]) -> str:
    """The fields as tables, one a section, followed by the choices of its fields."""
    groups: dict[str, list[Row]] = {}
    for field in found:
        groups.setdefault(field.path.rpartition(".")[0] if not field.choices else field.path, []).append(field)
    return "\n\n".join(part for name, group in groups.items() for part in _group(name, group))


def _group(name: str, group: list[Row]) -> Iterator[str]:
    (field, *_) = group
    if field.choices:
        yield f"### `{field.path}`"
        yield _code(field.meaning) + (f" Default: `{field.default}`." if field.default else "")
        rows = [row for choice in field.choices for row in _choice_rows(choice)]
        yield _table(("choice and its fields", "default", "values", "meaning"), rows)
        return
    yield f"### `{name}`" if name else "### At the top"
    yield _table(
        ("field", "default", "values", "meaning"),
        [(f"`{f.path}`", f"`{_text(f.default)}`", f.allowed, _code(f.meaning)) for f in group],
    )


def _choice_rows(choice: Option) -> Iterator[tuple[str, ...]]:
    yield f"**`{choice.name}`**", "", "", _code(choice.meaning)
    for argument in choice.arguments:
        default = "required" if argument.default is REQUIRED else f"`{_text(argument.default)}`"
        yield f"`{argument.path}`", default, argument.allowed, _code(argument.meaning)


def _code(text: str) -> str:
    return _without_roles(text).replace("``", "`")


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)

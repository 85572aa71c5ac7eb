"""Strict configs: their fields, the factories that their names stand for, and the file they are saved in.

Every mistake raises a one-line :class:`ConfigError` that names the field, the value and what is allowed;
:mod:`experiments.cli.command_line` prints it without a traceback.
"""

import contextlib
import difflib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ml_collections import ConfigDict

_SHOWN = 200
"""Characters of a value in a message."""
Config: TypeAlias = Any
"""A :class:`ConfigDict` to read fields from, whose types a type checker cannot know."""


class ConfigError(ValueError):
    """An invalid config or command line; the message is one line."""


# ---- validation ----------------------------------------------------------------------------------------------------


def require(condition: bool, field: str, value: Any, allowed: str) -> None:
    """Raises a :class:`ConfigError` that names ``config.<field>`` unless ``condition`` holds.

    >>> require(3 % 2 == 0, "training.batch_size", 3, "a multiple of the 2 devices")
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: config.training.batch_size=3: must be a multiple of the 2 devices
    """
    if not condition:
        raise ConfigError(f"config.{field}={to_text(value)}: must be {allowed}")


def require_field(config: ConfigDict, field: str, condition: bool, allowed: str) -> None:
    """As :func:`require`, with the value that the config has for the field."""
    require(condition, field, lookup(config, field), allowed)


def choice(field: str, value: str, allowed: Iterable[str]) -> str:
    """Returns ``value`` if it is one of ``allowed``; the error suggests the nearest name.

    >>> choice("schedule.name", "cosin", ["cosine", "linear"])
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: config.schedule.name=cosin: must be one of cosine, linear (did you mean cosine?)
    """
    allowed = list(allowed)
    require(value in allowed, field, value, f"one of {', '.join(allowed)}{hint(value, allowed)}")
    return value


def check_config(config: ConfigDict, defaults: ConfigDict, path: str = "") -> None:
    """Checks that a config has exactly the fields of ``defaults``, with the same types.

    An ``int`` may stand for a ``float``; a field that is ``None`` on either side fits any type.
    """
    for name in config:
        if name not in defaults:
            raise ConfigError(f"config.{path}{to_text(name)}: {no_such_field(defaults, path[:-1], name)}")
    for name in defaults:
        field, default = f"{path}{name}", defaults[name]
        value: Any = config.get(name)
        if name not in config:
            raise ConfigError(f"config.{field}: this field is missing (its default is {to_text(default)})")
        if isinstance(default, ConfigDict):
            require(isinstance(value, ConfigDict), field, value, "a section")
            check_config(value, default, f"{field}.")
        elif value is not None and (kind := defaults.get_type(name)) is not type(None):
            fits = isinstance(value, (kind, int) if kind is float else kind)
            exact = kind is bool or not isinstance(value, bool)
            require(fits and exact, field, value, kind_name(kind))


def kind_name(kind: type) -> str:
    """How an error message calls a type."""
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    return names.get(kind, "a list such as 1,2,3" if kind in (tuple, list) else kind.__name__)


def to_text(value: Any) -> str:
    """A value as it is typed on the command line, without its middle if it is long; for a section, its fields.

    >>> to_text((0.9, 0.99)), to_text(ConfigDict({"a": 1, "b": 2})), len(to_text("x" * 9999))
    ('(0.9, 0.99)', 'a section with a, b', 200)
    """
    if isinstance(value, ConfigDict):
        value = f"a section with {', '.join(value)}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2 - 3]} ... {text[2 - _SHOWN // 2 :]}"


def hint(value: Any, allowed: Iterable[str]) -> str:
    """`` (did you mean …?)`` when one of ``allowed`` is near ``value``, else nothing."""
    close = difflib.get_close_matches(str(value).replace("+", "p"), list(allowed), n=1)  # dpm++ is dpmpp_2m
    return f" (did you mean {close[0]}?)" if close else ""


def no_such_field(section: ConfigDict, path: str, name: str, root: ConfigDict | None = None) -> str:
    """The message for an unknown field: the nearest name in ``section``, else the same name elsewhere in ``root``."""
    where = f"config.{path}" if path else "config"
    where += f" ({section.name})" if path and "name" in section else ""
    near = hint(name, section)
    elsewhere = [leaf for leaf, _ in leaves(root or ConfigDict()) if leaf.split(".")[-1] == name]
    if elsewhere and not near:
        near = f" (did you mean config.{elsewhere[0]}?)"
    return f"{where} has no field {to_text(name)}{near}; it has {', '.join(section)}"


def leaves(config: ConfigDict, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that is not a section, as (dotted path, value)."""
    for name in config:
        value: Any = config[name]
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


@contextlib.contextmanager
def named_errors(path: str, chosen: str, fields: Collection[str]) -> Iterator[None]:
    """Turns a ``ValueError`` into a :class:`ConfigError` with the section, the choice of ``chosen``, and the field.

    The field is the first of ``fields`` that the message names.

    >>> with named_errors("shape", "shape.name=power", ["exponent"]):
    ...     raise ValueError("exponent must be >= 0, got -1")
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: config.shape (power): exponent must be >= 0, got -1; set config.shape.exponent
    """
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        message = " ".join(str(error).split())
        words = re.findall(r"\w+", message)
        named = sorted((words.index(field), field) for field in fields if field in words)
        field = f"; set config.{path}.{named[0][1]}" if named else ""
        raise ConfigError(f"config.{path} ({chosen.rpartition('=')[2]}): {message}{field}") from error


def lookup(config: ConfigDict, path: str) -> Any:
    """The value of ``config.<path>``; the config itself for an empty path."""
    found: Any = config
    for name in filter(None, path.split(".")):
        found = found[name]
    return found


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A copy of a config with these values of fields, as ``{"training.steps": 5}``."""
    config = config.copy_and_resolve_references()
    for field, value in changes.items():
        section, _, last = field.rpartition(".")
        lookup(config, section)[last] = value
    return config


# ---- files -------------------------------------------------------------------------------------------------------


def save_resolved(config: ConfigDict, path: str | os.PathLike[str]) -> Path:
    """Writes every field as readable JSON, atomically; :func:`load_resolved` gives back an equal config."""
    from scorekit.io.files import write_atomic  # late: a command line is parsed without jax

    for field, value in leaves(config):
        _plain(field, value)
    return write_atomic(path, json.dumps(config.to_dict(), indent=2) + "\n")


def _plain(field: str, value: Any) -> None:
    if isinstance(value, tuple):
        for item in value:
            _plain(field, item)
    else:
        plain = value is None or type(value) in (bool, int, float, str)
        require(plain, field, value, "a number, string, boolean, None, or a tuple of these")


def load_resolved(path: str | os.PathLike[str]) -> ConfigDict:
    """The locked config that :func:`save_resolved` wrote."""
    from scorekit.io import (
        as_path,
        parse_json,  # late: a command line is parsed without jax
    )

    try:
        fields = parse_json(as_path(path).read_text(), "it")
        if isinstance(fields, dict):
            return ConfigDict(_tuples(fields)).lock()
    except (ValueError, AttributeError) as error:  # AttributeError: of a field such as __class__
        raise ConfigError(f"{path} is not a saved config: {error}") from error
    kind = type(fields).__name__
    raise ConfigError(f"{path} is not a saved config: must be a JSON object, got a {kind}; train the run again")


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value

"""Malformed configs: every field just outside its range, and fields at random with values at random."""

import functools
import operator
import random
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict
from robustness.processes import Case

from experiments import tasks, training
from experiments.cli.command_line import override
from experiments.cli.config import ConfigError, leaves
from experiments.cli.fields import Section
from experiments.data.dataset import Dataset
from experiments.tasks.flow_maps import students
from scorekit.arguments import Bound, OneOf

SECTIONS: dict[str, Section] = {
    **{name: tasks.named(name).fields() for name in tasks.TASKS},
    **{method: Section(distillation=section) for method, section in students.SECTIONS.items()},
}
KINDS = {name: section for name, section in SECTIONS.items() if name != "student"}
TEXTS = (
    "",
    "a",
    "-1",
    "0",
    "1",
    "2.5",
    "-0.0",
    "1e38",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "9" * 30,
    "None",
    "true",
    "()",
    "(1,",
    "1,2",
    "a,b",
    "[1]",
    "{'a': 1}",
    "../../etc/passwd",
    "'; import os",
    "é",
    "\x00",
    "a" * 9_999,
)
"""What somebody, or somebody's script, may write after the equals sign."""


@functools.cache
def _data(kind: str) -> Dataset:
    return tasks.named(kind).load(KINDS[kind].defaults())


def check(kind: str, config: ConfigDict) -> None:
    """Everything that a program validates before it reads rows, for the data of the defaults."""
    KINDS[kind].check(config)
    if kind in ("diffusion", "sequence"):
        tasks.named(kind).build(config, _data(kind))
        training.check(config)


def by_bound() -> Iterator[Case]:
    """Every field of every kind of config, and of every choice in it, that has a bound: just outside of it."""
    for kind, fields in KINDS.items():
        tried = set()
        for config in _choices(fields):
            for field, before, allowed, optional, chosen in list(fields.limits(config)):
                if not isinstance(allowed, Bound) or (field, chosen) in tried:
                    continue
                tried.add((field, chosen))
                section, last = _section(config, field)
                kinds = (section.get_type(last), int) if section.get_type(last) is float else section.get_type(last)
                for value in allowed.outside():
                    if isinstance(value, kinds) or (value is None and not optional):
                        section[last] = value
                        yield _verdict(kind, config, field, str(value), must_fail=True)
                with config.ignore_type():  # an integer in place of the last value, True
                    section[last] = before


def _choices(fields: Section) -> Iterator[ConfigDict]:
    """The default config; then one with every name of every section that has one."""
    yield fields.defaults()
    for field, _, allowed, *_ in fields.limits(fields.defaults()):
        if field.endswith(".name") and isinstance(allowed, OneOf):
            for name in allowed.values:
                config = fields.defaults()
                section, last = _section(config, field)
                section[last] = name
                yield config


def _section(config: ConfigDict, field: str) -> tuple[Any, str]:
    *sections, last = field.split(".")
    return functools.reduce(operator.getitem, sections, config), last


def at_random(cases: int, seed: int = 0) -> Iterator[Case]:
    """Overrides of fields at random by texts at random, as a command line gives them."""
    chosen = random.Random(seed)
    fields = {kind: [field for field, _ in leaves(section.defaults())] for kind, section in KINDS.items()}
    for _ in range(cases):
        kind = chosen.choice(list(KINDS))
        field, text = chosen.choice(fields[kind]), chosen.choice(TEXTS)
        yield _verdict(kind, KINDS[kind].defaults(), field, text)


def _verdict(kind: str, config: ConfigDict, field: str, text: str, must_fail: bool = False) -> Case:
    tried = f"{kind} config.{field}={text[:40]}"
    try:
        if not must_fail:
            override(config, field, text)
        check(kind, config)
    except ConfigError as error:
        message, (section, _, last) = str(error), field.rpartition(".")
        named = f"config.{field}" in message or (f"config.{section}" in message and last in message)
        return Case(tried, "clear" if named and "\n" not in message else "obscure", message[:200])
    except Exception as error:
        return Case(tried, "obscure", f"{type(error).__name__}: {error}"[:200])
    return Case(tried, "silent" if must_fail else "documented", "is in the range of the field")

"""The fields of a config as the code declares them: defaults, types, ranges, and what the docstrings under them say.

A function that declares fields, ``fields()`` of a package or ``get_config()`` of a kind of config, is read as source: a
string under an assignment is the meaning of the field, a call of ``section`` or ``sections`` names the table of what
the field chooses from, a call of another such function is read in turn. What a choice takes is its signature, and what
its arguments mean is the ``Args:`` or ``Attributes:`` of its docstring or of its module. There is no second list.
"""

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.cli.config import Config, fields_of, lookup, section, sections
from experiments.cli.ranges import Ranges, typed

_ABSENT = object()
REQUIRED = inspect.Parameter.empty
"""The default of an argument without one."""


class Argument(NamedTuple):
    """An argument of a choice: ``config.<path>``; ``allowed`` is its type and range in words."""

    path: str
    default: Any
    allowed: str
    meaning: str


class Choice(NamedTuple):
    """Something that a field may name."""

    name: str
    meaning: str
    arguments: tuple[Argument, ...]


class Field(NamedTuple):
    """A field ``config.<path>``; of one that names a choice, ``allowed`` is empty."""

    path: str
    default: Any
    allowed: str
    meaning: str
    choices: tuple[Choice, ...] = ()


class Declared(NamedTuple):
    """What the source says of a field or section: its meaning, and the table and supplied arguments of its choices."""

    meaning: str = ""
    table: Mapping[str, Callable] | None = None
    supplied: Sequence[str] = ()
    several: bool = False


def declarations(function: Callable) -> dict[str, Declared]:
    """What a function declares, by path in the order of the source; sections have entries of their own."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    found: dict[str, Declared] = {}
    aliases: dict[str, str] = {}
    last: list[str] = []
    for statement in definition.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            last = [path for target in targets if (path := _path(target, aliases)) is not None]
            where = last[0] if last else ""
            aliases.update({target.id: where for target in targets if isinstance(target, ast.Name)})
            for path, declared in _of_value(statement.value, function, where).items():
                holder = found.get(path.rpartition(".")[0], Declared())
                if holder.table is None:  # else it sets an argument of a choice
                    found.setdefault(path, declared)
            last = [path for path in last if path in found]
        elif isinstance(statement, ast.Return) and statement.value is not None:
            found.update(_of_value(statement.value, function, ""))
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and last:
            meaning = " ".join(str(statement.value.value).split())
            found.update({path: found[path]._replace(meaning=meaning) for path in last})
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):  # config.update(fields())
            for argument in statement.value.args:
                found.update(_of_value(argument, function, ""))
    if found.get("") == Declared():
        del found[""]
    return found


def _path(target: ast.expr, aliases: Mapping[str, str]) -> str | None:
    """The dotted path that an assignment sets, None for a plain name."""
    names = []
    while isinstance(target, ast.Attribute):
        names.append(target.attr)
        target = target.value
    if not names or not isinstance(target, ast.Name) or target.id not in aliases:
        return None
    return ".".join(filter(None, [aliases[target.id], *reversed(names)]))


def _of_value(value: ast.expr, function: Callable, path: str) -> dict[str, Declared]:
    """The declarations that the right-hand side of an assignment to ``path`` makes."""
    if not isinstance(value, ast.Call):
        return {path: Declared()}
    names = function.__globals__
    evaluate = lambda node: eval(compile(ast.Expression(node), "declarations", "eval"), names)
    root = value.func
    while isinstance(root, ast.Attribute):
        root = root.value
    called = evaluate(value.func) if isinstance(root, ast.Name) and root.id in names else None
    if called is section or called is sections:
        keywords = {keyword.arg: keyword.value for keyword in value.keywords}
        supplied = evaluate(keywords["supplied"]) if "supplied" in keywords else ()
        return {path: Declared("", evaluate(value.args[0]), supplied, called is sections)}
    inner = {}
    if inspect.isfunction(called) and not value.args and not value.keywords:
        inner = {".".join(filter(None, (path, field))): declared for field, declared in declarations(called).items()}
    return {path: Declared(), **inner}


# ---- fields ----------------------------------------------------------------------------------------------------------


def fields(functions: Mapping[str, Callable[[], Config]], ranges: Ranges) -> Iterator[Field]:
    """Every field, in the order of the source.

    Args:
      functions: what declares the fields, by the section that they are of; "" is the whole config.
      ranges: the values of the fields, by path.
    """
    for name, function in functions.items():
        prefix = f"{name}." if name else ""
        defaults = function()
        for path, declared in declarations(function).items():
            default: Any = defaults
            for part in path.split("."):
                default = default.get(part, _ABSENT)
                if not isinstance(default, ConfigDict):
                    break
            if default is _ABSENT:  # of a function that leaves out a part of what another declares
                continue
            if declared.table is not None:
                full = f"{prefix}{path}"
                default = None if declared.several else default.name
                choices = tuple(_choice(full, key, declared, ranges) for key in declared.table)
                yield Field(full if declared.several else f"{full}.name", default, "", declared.meaning, choices)
            elif not isinstance(default, ConfigDict):
                kind = _kind(defaults, path)
                allowed = typed(kind, ranges.get(f"{prefix}{path}"), optional=default is None)
                yield Field(f"{prefix}{path}", default, allowed, declared.meaning)


def _kind(defaults: Config, path: str) -> type:
    holder, _, name = path.rpartition(".")
    return (lookup(defaults, holder) if holder else defaults).get_type(name)


def _choice(path: str, name: str, declared: Declared, ranges: Ranges) -> Choice:
    assert declared.table is not None
    factory = declared.table[name]
    text = inspect.getdoc(factory) or ""
    family = inspect.getdoc(inspect.getmodule(factory)) or ""
    meanings = described_arguments(family) | described_arguments(text)
    section_of = f"{path}.{name}" if declared.several else path
    arguments = []
    for key, parameter in inspect.signature(factory).parameters.items():
        if key in declared.supplied or parameter.kind is parameter.VAR_KEYWORD:
            continue
        full = f"{section_of}.{key}"
        in_range = ranges.get(f"{path}.{name}.{key}", ranges.get(full))  # of this choice alone, or of all of them
        allowed = _of_annotation(parameter) or typed(_type_of(declared, key, factory), in_range)
        arguments.append(Argument(full, parameter.default, allowed, meanings.get(key, "")))
    return Choice(name, first_sentence(text), tuple(arguments))


def _type_of(declared: Declared, key: str, factory: Callable) -> type:
    return fields_of(factory, supplied=declared.supplied).get_type(key)


def _of_annotation(parameter: inspect.Parameter) -> str:
    """The values of a ``Literal``, else nothing."""
    is_literal = typing.get_origin(parameter.annotation) is typing.Literal
    return f"one of {', '.join(map(str, typing.get_args(parameter.annotation)))}" if is_literal else ""


# ---- docstrings ------------------------------------------------------------------------------------------------------


def documented(like: Any, factory: Callable) -> Callable:
    """``factory`` with a docstring, given as text or that of what it makes, for tables of choices.

    >>> documented("A line.", lambda slope=1.0: slope).__doc__
    'A line.'
    """
    factory.__doc__ = like if isinstance(like, str) else inspect.getdoc(like)
    factory.__module__ = getattr(like, "__module__", factory.__module__)
    return factory


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line.

    >>> first_sentence("A schedule, ``alpha = 1``. More of it.\\n\\nArgs: ...")
    'A schedule, ``alpha = 1``.'
    """
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[^.\s][.])\s+(?=[A-Z`])", paragraph)[0]


def described_arguments(text: str) -> dict[str, str]:
    """The first sentence of each argument in ``Args:`` or ``Attributes:`` of a docstring.

    >>> described_arguments("A.\\n\\nArgs:\\n  a: the slope\\n    of it. Not 0.\\n  b, c: ends.\\n\\nReturns:\\n  y.")
    {'a': 'the slope of it.', 'b': 'ends.', 'c': 'ends.'}
    """
    found: dict[str, str] = {}
    blocks = r"^(?:Args|Attributes):\n((?:(?:[ ]+.*)?\n?)+?)(?=^\S|\Z)"
    for block in re.findall(blocks, text, re.MULTILINE):
        for names, words in re.findall(r"^  (\w[\w, ]*): ((?:.|\n(?!  \w[\w, ]*: ))+)", block, re.MULTILINE):
            found.update(dict.fromkeys((name.strip() for name in names.split(",")), first_sentence(words)))
    return found

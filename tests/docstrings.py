"""What is wrong with the ``__all__`` of a module and with the docstrings of what is in it.

A complete docstring has one line of summary, ``Args:`` (of a class its fields, also as ``Attributes:``), ``Returns:``
of several values where the summary does not name them, an example, and an equation where it names a ``Source:``. The
example of a family of functions may stand once, in the docstring of their module, or of its package.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import re
from types import ModuleType

HEADERS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Source")

PROTOCOL_METHODS = {
    "Schedule": "alpha sigma log_snr time_at drift diffusion_squared",
    "Solver": "order evals_per_step stochastic max_past row plan init step mean slope",
    "discrete.TokenSolver": "transition",
    "Target": "to_prediction from_prediction eps_scale",
    "times.TimeSampler": "quantile",
    "conformance.Subject": "checks",
    "densities": "dim sample log_density entropy marginal predict",
    "autoregressive.SequenceModel": "conditional outputs init_state step",
    "autoregressive.Conditional": "num_outputs log_prob sample zeros",
    "flax.linen.Module": "setup",
    "arguments.Bound": "allows holds check outside inside",
    "io.formats": "recognises attributes",
}
"""Methods of documented protocols: an implementation needs one line, which it may inherit."""


def top_level(source: str) -> dict[str, bool]:
    """The names that a module defines at its top, and whether a docstring is in or under each."""
    found: dict[str, bool] = {}
    body = ast.parse(source).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        names = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names, documented = [node.name], ast.get_docstring(node) is not None
        else:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = [t.id for t in targets if isinstance(t, ast.Name)]
            value = getattr(after, "value", None) if isinstance(after, ast.Expr) else None
            documented = isinstance(value, ast.Constant) and isinstance(value.value, str)
        found |= dict.fromkeys(names, documented)
    return found


def unlisted(source: str, listed: tuple[str, ...] | list[str] | None) -> list[str]:
    """What is wrong with the ``__all__`` of a module."""
    if listed is None:
        return ["has no __all__"]
    public = [name for name in top_level(source) if not name.startswith("_")]
    return [f"{name} is neither in __all__ nor private" for name in public if name not in listed]


def unoffered(module: str, listed: list[str], package: str, offered: list[str]) -> list[str]:
    """The names of an inner module that its package offers neither by themselves nor by offering the module."""
    if module.removeprefix(f"{package}.") in offered:
        return []
    return [f"{name} is not offered by {package}" for name in listed if name not in offered]


def sections(docstring: str) -> dict[str, str]:
    """The text of each section of a docstring; the summary and the rest of the text have the name ``""``."""
    found, name = {"": ""}, ""
    for line in docstring.splitlines():
        header = re.match(rf"({'|'.join(HEADERS)}):(.*)", line)
        if header:
            name, line = header[1], header[2]
        elif line and not line[0].isspace():
            name = "" if name != "Source" else name
        found[name] = found.get(name, "") + line + "\n"
    return found


def entries(text: str) -> set[str]:
    """The names that a section describes: ``name: text`` or ``name, name: text`` at its indentation."""
    lines = [line for line in text.splitlines() if line.strip()]
    indent = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    heads = [re.match(r"((?:\*{0,2}\w+(?:,\s*)?)+)(?: \([^)]*\))?:\s*\S", line[indent:]) for line in lines]
    return {name.strip().lstrip("*") for head in heads if head for name in head[1].split(",")}


def parameters(function, *, method: bool) -> list[str]:
    names = [name for name in inspect.signature(function).parameters if not name.startswith("_")]
    return names[1:] if method and names[:1] in (["self"], ["cls"]) else names


def needs_returns(function) -> bool:
    """Whether a function returns several values without names, which its summary does not list as "this and that"."""
    annotation = inspect.signature(function).return_annotation
    several = getattr(annotation, "__origin__", None) is tuple and annotation.__args__[-1] is not ...
    return several and " and " not in (inspect.getdoc(function) or "").partition("\n\n")[0]


def lacks(parts: dict[str, str], needed: list[str], *, where: tuple[str, ...], allowed: frozenset[str]) -> list[str]:
    """The arguments without a description, and the descriptions without an argument."""
    described = set().union(*(entries(parts.get(name, "")) for name in where))
    wrong = [f"{where[0]} lacks {name}" for name in needed if name not in described]
    return wrong + [f"{where[0]} describes {name}, which is none" for name in sorted(described - {*needed, *allowed})]


def of_module(thing) -> str:
    """The docstrings of the module that defines a function or a class, and of its packages."""
    modules = itertools.accumulate(thing.__module__.split("."), "{}.{}".format)
    return "\n".join(inspect.getdoc(importlib.import_module(name)) or "" for name in modules)


def incomplete_function(function, *, method: bool = False, example: str = "", equation: bool = True) -> list[str]:
    """What the docstring of a function or a method lacks; ``example`` is of the class."""
    docstring = inspect.getdoc(function) or ""
    if not docstring.strip():
        return ["no docstring"]
    parts, family = sections(docstring), of_module(function)
    wrong = lacks(parts, parameters(function, method=method), where=("Args",), allowed=frozenset())
    stated = any(parts.get(name, "").strip() for name in ("Returns", "Yields"))
    if needs_returns(function) and not stated and not re.match(RESULT, docstring):
        wrong.append("no Returns")
    by_family = re.search(rf"^(>>>|\.\.\.).*\b{function.__name__}\b", family, re.MULTILINE)
    if ">>>" not in docstring and not by_family and not re.search(rf"\.{function.__name__}\b", example):
        wrong.append("no example")
    if equation and "Source" in parts and not re.search(EQUATION, parts[""].partition(">>>")[0], re.MULTILINE):
        wrong.append("no equation")
    return wrong


RESULT = r"(The|A|An|Whether|Where) |:func:|``|.*``\("
"""A summary that names the result, or its shape."""

EQUATION = r"``[^`]*( [-+*<>=~] |<-|->|[\^/|~]|(sum|grad)_|(log|exp|sqrt|min|max)\b)[^`]*``|^    \S.* = "


def fields(cls) -> list[str]:
    """What a class is made from: the fields of a dataclass or a named tuple, or the arguments of ``__init__``."""
    if dataclasses.is_dataclass(cls):
        set_by_flax = FLAX_FIELDS if hasattr(cls, "scope") else ()
        return [f.name for f in dataclasses.fields(cls) if not f.name.startswith("_") and f.name not in set_by_flax]
    if hasattr(cls, "_fields"):
        return list(cls._fields)
    return parameters(cls.__init__, method=True) if "__init__" in vars(cls) else []


FLAX_FIELDS = ("parent", "name")
"""Fields that every flax module has."""


def incomplete_class(cls) -> list[str]:
    """What the docstrings of a class and of its own methods and properties lack."""
    docstring = vars(cls).get("__doc__") or ""
    if not docstring.strip() or docstring.startswith(f"{cls.__name__}("):  # the default one of a dataclass
        return ["no docstring"]
    docstring = inspect.cleandoc(docstring)
    parts, family = sections(docstring), of_module(cls)
    protocol = getattr(cls, "_is_protocol", False)
    public = frozenset(name for name in dir(cls) if not name.startswith("_"))
    wrong = [] if protocol else lacks(parts, fields(cls), where=("Attributes", "Args"), allowed=public)
    by_family = re.search(rf"^(>>>|\.\.\.).*\b{cls.__name__}\b", family, re.MULTILINE)
    if ">>>" not in docstring and not by_family and not protocol:
        wrong.append("no example")
    for name, member in vars(cls).items():
        member = getattr(member, "__func__", member)
        is_property = isinstance(member, property) or hasattr(member, "func")
        if name.startswith("_") or not (inspect.isfunction(member) or is_property):
            continue
        if is_property or protocol or name in PROTOCOL:
            found = [] if (inspect.getdoc(getattr(cls, name)) or "").strip() else ["no docstring"]
        else:
            found = incomplete_function(member, method=True, example=docstring, equation=False)
        wrong += [f"{name}: {what}" for what in found]
    return wrong


PROTOCOL = {name for names in PROTOCOL_METHODS.values() for name in names.split()}


def constant_is_documented(module: ModuleType, name: str) -> bool:
    """Whether a string is under an alias or a constant, in the module that assigns it."""
    source = inspect.getsource(module)
    if name in top_level(source):
        return top_level(source)[name]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and name in (a.asname or a.name for a in node.names):
            inner = next(a.name for a in node.names if name == (a.asname or a.name))
            foreign = not (node.module or "").startswith("scorekit")
            return foreign or constant_is_documented(importlib.import_module(str(node.module)), inner)
    return False


def undocumented(module: ModuleType, name: str, *, equation: bool = True) -> list[str]:
    """What the docstring of a name of an ``__all__`` lacks."""
    thing = getattr(module, name)
    if inspect.ismodule(thing):
        return []
    if not str(getattr(thing, "__module__", "scorekit")).startswith("scorekit"):
        assigned = name in top_level(inspect.getsource(module))
        return [] if constant_is_documented(module, name) or not assigned else ["no docstring under it"]
    if inspect.isclass(thing):
        return incomplete_class(thing)
    if inspect.isroutine(inspect.unwrap(thing)):
        if thing.__module__.startswith("scorekit.io.formats.") and name in PROTOCOL_METHODS["io.formats"].split():
            return [] if inspect.getdoc(thing) else ["no docstring"]
        return incomplete_function(thing, equation=equation)
    return [] if constant_is_documented(module, name) else ["no docstring under it"]

"""A page of the reference for every public module, with an entry for every public name, as the site is built."""

import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer

from scorekit.arguments import bounds_of

PACKAGE = "scorekit"
FOLDER = "reference"
PAGE = """{title}
{rule}

.. automodule:: {module}

.. currentmodule:: {module}

.. autosummary::
   :nosignatures:

{names}

{entries}
"""
INDEX = """API reference
=============

Every public name, by module. A module is imported on first use.

{tables}
"""
TABLE = """.. rubric:: {title}

{promise}

.. toctree::
   :hidden:

{pages}

.. autosummary::

{pages}
"""


def public_modules() -> list[str]:
    """The modules that have a page: those of the package, and the modules that these offer as modules."""
    package = importlib.import_module(PACKAGE)
    names = [m.name for m in pkgutil.walk_packages(package.__path__, PACKAGE + ".")]
    names = sorted(name for name in names if not any(part.startswith("_") for part in name.split(".")))
    return [PACKAGE, *filter(_has_page, names)]


def tiers() -> list[tuple[str, str, list[str]]]:
    """The title, the promise and the packages of each tier, from the docstring of the package."""
    text = inspect.getdoc(importlib.import_module(PACKAGE)) or ""
    tier = re.compile(r"^(\w+): (.*)\n((?:  .*(?:\n|$))+)", re.MULTILINE)
    return [(title, promise, re.findall(r"``(\w+)``", body)) for title, promise, body in tier.findall(text)]


def _has_page(name: str) -> bool:
    parent, _, own = name.rpartition(".")
    package = importlib.import_module(parent)
    offered = own in getattr(package, "__all__", ()) and inspect.ismodule(getattr(package, own))
    return bool(public_names(name)) and (parent == PACKAGE or offered)


def public_names(name: str) -> list[str]:
    """The names of a module that are not modules: those of ``__all__``, or without it what the module defines."""
    module = importlib.import_module(name)
    if (offered := getattr(module, "__all__", None)) is not None:
        return [label for label in offered if not inspect.ismodule(getattr(module, label)) and label[0] != "_"]
    defined = lambda thing: (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == name
    return [label for label, thing in vars(module).items() if label[0] != "_" and defined(thing)]


def page(name: str) -> str:
    """The text of the page of a module: its docstring, a table of its names, and an entry for each."""
    module, entries = importlib.import_module(name), []
    for label in public_names(name):
        thing, kind, option = getattr(module, label), "data", "\n   :no-value:"
        if inspect.isfunction(thing):
            kind, option = "function", ""
        elif inspect.isclass(thing):
            kind, option = "class", "\n   :members:"
            option += "\n   :inherited-members: Module" if hasattr(thing, "scope") else ""  # of Flax
            if fields := getattr(thing, "_fields", ()):  # of a named tuple, whose docstring has them
                option += f"\n   :exclude-members: {', '.join(fields)}"
        entries.append(f".. auto{kind}:: {name}.{label}{option}\n")
    title = name.replace("_", "\\_")
    names = "\n".join(f"   {label}" for label in public_names(name))
    return PAGE.format(title=title, rule="=" * len(title), module=name, names=names, entries="\n".join(entries))


def write_pages(app) -> None:
    """Writes a page when it has changed, so that another build reads the others from its cache."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    pages = {name: page(name) for name in public_modules()}
    texts = []
    for title, promise, packages in tiers():
        inside = [name for name in pages if name.split(".")[1:2] in ([each] for each in packages)]
        rows = [f"   {name}" for name in [PACKAGE] * (not texts) + inside]
        texts.append(TABLE.format(title=title, promise=promise[0].upper() + promise[1:], pages="\n".join(rows)))
    pages["index"] = INDEX.format(tables="\n".join(texts))
    for path in set(folder.glob("*.rst")) - {folder / f"{name}.rst" for name in pages}:
        path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def text_under(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Gives a constant or an alias the text under it in the module that defines it, in place of that of its type."""
    module, _, label = name.rpartition(".")
    if what == "data" and module in sys.modules:
        inner = [m.name for m in pkgutil.walk_packages(getattr(sys.modules[module], "__path__", ()), module + ".")]
        for candidate in (module, *inner):
            if text := ModuleAnalyzer.for_module(candidate).find_attr_docs().get(("", label)):
                lines[:] = text
                return


def add_bounds(app, what: str, fullname: str, obj, options, lines: list[str]) -> None:
    """Adds the bounds in the annotations to the descriptions of the arguments."""
    if what == "function" or (what == "class" and obj.__init__ is not object.__init__):
        text = "\n".join(lines)
        for name, bounded in bounds_of(obj).items():
            add = lambda match, bound=bounded.bound: f"{match[0].rstrip(' .')}. Allowed: {bound}."
            text = re.sub(rf"^  {name}: .*(\n   .*)*", add, text, flags=re.MULTILINE)
        lines[:] = text.split("\n")


def link_back(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Lets a page of sources link to the entry of a name where several have one, and lists those of the package."""
    if pagename.startswith("_modules/"):
        back = r'(id="([\w.]+)">\n<a class="viewcode-back" href="[^"]*/([\w.]+)\.html#)[^"]*'
        foreign = rf'<li><a href="(?!{PACKAGE})[^"]*">[\w.]+</a></li>\n?'
        context["body"] = re.sub(foreign, "", re.sub(back, r"\1\3.\2", context["body"]))


def setup(app):
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", add_bounds, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", text_under, priority=600)  # after napoleon
    app.connect("html-page-context", link_back)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""One page of the reference for every module of the package, written when the site is built, and a check that none of
the public names is missing from them."""

import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path

from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.osutil import ensuredir

from experiments.cli.docstrings import shared as shared_meanings
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
    if not public_names(name):
        return False
    parent, _, own = name.rpartition(".")
    package = importlib.import_module(parent)
    return parent == PACKAGE or (own in getattr(package, "__all__", ()) and inspect.ismodule(getattr(package, own)))


def public_names(name: str) -> list[str]:
    """The names of a module that are not modules: those of ``__all__``, or without it what the module defines."""
    module = importlib.import_module(name)
    if (offered := getattr(module, "__all__", None)) is not None:
        return [label for label in offered if not inspect.ismodule(getattr(module, label)) and label[0] != "_"]
    found = [(label, thing) for label, thing in vars(module).items() if not label.startswith("_")]
    return [
        label
        for label, thing in found
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == name
    ]


def _is_foreign(thing: object) -> bool:
    """Whether this is a class of another package, of which a name is an alias: it is documented there.

    Sphinx 9.2 warns of the signature of such a class, also in a table.
    """
    return inspect.isclass(thing) and thing.__module__.partition(".")[0] != PACKAGE


def page(name: str) -> str:
    """The text of the page of a module: its docstring, a table of its names, and an entry for each."""
    module, names, entries = importlib.import_module(name), public_names(name), []
    for label in names:
        thing = getattr(module, label)
        kind = "class" if inspect.isclass(thing) else "function" if inspect.isfunction(thing) else "data"
        if kind == "class" and _is_foreign(thing):
            kind = "data"
        members = "\n   :members:" + ("\n   :inherited-members: Module" if hasattr(thing, "scope") else "")  # of Flax
        if fields := getattr(thing, "_fields", ()):  # of a named tuple, whose docstring has them
            members += f"\n   :exclude-members: {', '.join(fields)}"
        option = {"class": members, "data": "\n   :no-value:"}.get(kind, "")
        entries.append(f".. auto{kind}:: {name}.{label}{option}\n")
    listed = [label for label in names if not _is_foreign(getattr(module, label))]
    title, rows = name.replace("_", "\\_"), "\n".join(f"   {label}" for label in listed)
    return PAGE.format(title=title, rule="=" * len(title), module=name, names=rows, entries="\n".join(entries))


def write_pages(app) -> None:
    """Writes a page when it has changed, so that another build reads the others from its cache."""
    folder = Path(app.srcdir) / FOLDER
    ensuredir(folder)
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
    """Gives a constant or an alias that a package offers the text under it, which is in the module that defines it.

    Without it, the text would be that of the type of the value.
    """
    module, _, label = name.rpartition(".")
    if what != "data" or module not in sys.modules:
        return
    inner = [m.name for m in pkgutil.walk_packages(getattr(sys.modules[module], "__path__", ()), module + ".")]
    for candidate in (module, *inner):
        found = ModuleAnalyzer.for_module(candidate).find_attr_docs()
        if text := found.get(("", label)):
            lines[:] = text
            return


def add_bounds(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Adds the bounds in the annotations to the descriptions of the arguments, of which a family shares some.

    An argument that only the docstring of the module or of its packages describes gets that description.
    """
    if what not in ("function", "class"):
        return
    bounds = bounds_of(obj) if inspect.isfunction(obj) or obj.__init__ is not object.__init__ else {}
    parameters = [each for each in inspect.signature(obj).parameters if each not in ("self", "parent", "name")]
    shared = shared_meanings(obj.__module__)
    header = "Attributes:" if "Attributes:" in lines else "Args:"
    missing = [each for each in parameters if each in shared and not any(_entry(each).match(line) for line in lines)]
    if missing and header not in lines:
        lines += ["", header]
    if missing:
        at = lines.index(header) + 1
        lines[at:at] = [f"  {each}: {shared[each]}" for each in missing]
    for argument, bounded in bounds.items():
        start = next((i for i, line in enumerate(lines) if _entry(argument).match(line)), None)
        if start is not None:
            end = start
            while end + 1 < len(lines) and lines[end + 1].startswith("   "):
                end += 1
            lines[end] = f"{lines[end].rstrip().rstrip('.')}. Allowed: {bounded.bound}."


def shared_arguments(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Names the arguments that the functions of a module share, which Sphinx would print as ``param x``."""
    if what == "module":
        lines[:] = [re.sub(r"^:param ", ":", line) for line in lines]
        lines[:] = [re.sub(r"^:(returns:|raises )", lambda found: f":{found[1].capitalize()}", line) for line in lines]


def _entry(argument: str) -> re.Pattern:
    """The first line of the description of an argument."""
    return re.compile(rf"^  {argument}: ")


def check_complete(app, env) -> None:
    """Warns of public names without an entry."""
    entries = env.domains.python_domain.objects
    if not entries:
        raise ExtensionError("the reference is empty")
    for module in public_modules():
        for name in public_names(module):
            if f"{module}.{name}" not in entries:
                logging.getLogger(__name__).warning("%s.%s is not in the reference", module, name)


def links_of_sources(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Lets a page of sources link to the entry of a name where several pages have one, and lists those of the package.

    Sphinx takes the page from one entry and the heading from another.
    """
    if pagename.startswith("_modules/"):
        back = r'(id="([\w.]+)">\n<a class="viewcode-back" href="[^"]*/([\w.]+)\.html#)[^"]*'
        foreign = rf'<li><a href="(?!{PACKAGE})[^"]*">[\w.]+</a></li>\n?'
        context["body"] = re.sub(foreign, "", re.sub(back, r"\1\3.\2", context["body"]))


def setup(app):
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", add_bounds, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", text_under, priority=600)  # after napoleon
    app.connect("autodoc-process-docstring", shared_arguments, priority=600)
    app.connect("env-check-consistency", check_complete)
    app.connect("html-page-context", links_of_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

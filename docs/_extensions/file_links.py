"""Pages and notebooks that a page names by their file, as ``docs/ema.md``, become links to them."""

import posixpath
import re
from pathlib import Path

NAMED = re.compile(r"(?<!\[)`(docs/([\w/]+)\.md|colabs/(\w+)\.ipynb)`")


def link_files(app, docname: str, source: list[str]) -> None:
    here = posixpath.dirname(docname)

    def link(match: re.Match) -> str:
        page, notebook = match[2], match[3]
        target = f"{page}.md" if page else f"notebooks/{notebook}.ipynb"
        if not (Path(app.srcdir) / target).exists():
            return match[0]
        return f"[`{match[1]}`](</{target}>)" if not here else f"[`{match[1]}`]({posixpath.relpath(target, here)})"

    if docname.startswith("notebooks/"):  # JSON: no quotation marks are added
        here = "notebooks"
    if not docname.startswith("reference/"):
        source[0] = NAMED.sub(link, source[0])


def link_in_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """The same in docstrings, where the file is in double quotation marks of reStructuredText."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"``docs/([\w/]+)\.md``", r":doc:`docs/\1.md </\1>`", line)


def setup(app):
    app.connect("source-read", link_files)
    app.connect("autodoc-process-docstring", link_in_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What the pages need beyond Sphinx and MyST: formulas, figures, links to files, and code that fits on the screen."""

import posixpath
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

from experiments.reporting import figures

NAMED = re.compile(r"(?<!\[)`(docs/([\w/]+)\.md|colabs/(\w+)\.ipynb)`")
WIDEST, PROMPTS = 85, (">>> ", "... ")
RUFF = [sys.executable, "-m", "ruff", "format", "--isolated", "--config", "format.docstring-code-format=true", "-"]
RUFF += ["--config", f"format.docstring-code-line-length={WIDEST - len(PROMPTS[0])}"]


def inline(translator, node) -> None:
    """A formula as MathML, which browsers display without a script and without a network."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(translator, node) -> None:
    translator.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def figure(name, rawtext, text, lineno, inliner, options=None, content=None):
    """The role of published values: {figure}`digits.accuracy %` of ``experiments/figures.toml``, in per cent."""
    inliner.document.settings.env.note_dependency(str(figures.FILE))
    try:
        return [nodes.Text(figures.text(figures.load(figures.FILE), text))], []
    except ValueError as error:
        message = inliner.reporter.error(str(error), line=lineno)
        return [inliner.problematic(rawtext, rawtext, message)], [message]


def join(app, doctree) -> None:
    """In the cells of tables a value and its error stay on one line."""
    for table in doctree.findall(nodes.table):
        for text in list(table.findall(nodes.Text)):
            if " ± " in text:
                text.parent.replace(text, nodes.Text(text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")))


def link_files(app, docname: str, source: list[str]) -> None:
    """Pages and notebooks that a page names by their file, as ``docs/ema.md``, become links to them."""
    here = posixpath.dirname(docname)

    def link(match: re.Match) -> str:
        target = f"{match[2]}.md" if match[2] else f"notebooks/{match[3]}.ipynb"
        if not (Path(app.srcdir) / target).exists():
            return match[0]
        return f"[`{match[1]}`]({posixpath.relpath(target, here) if here else f'</{target}>'})"

    if not docname.startswith("reference/"):
        source[0] = NAMED.sub(link, source[0])


def link_in_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = [re.sub(r"``docs/([\w/]+)\.md``", r":doc:`docs/\1.md </\1>`", line) for line in lines]


def too_wide(lines: list[str]) -> list[str]:
    """The lines of code that do not fit."""
    return [line for line in map(str.strip, lines) if line.startswith(PROMPTS) and len(line) > WIDEST]


def shorten(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Breaks long lines of the examples of a docstring as ruff does; what ruff cannot break is a warning."""
    if too_wide(lines):
        text = '"""'.join(["r", "\n".join(lines), "\n"])
        shown = subprocess.run(RUFF, input=text, text=True, stdout=subprocess.PIPE, check=True).stdout
        lines[:] = shown.split('"""')[1].splitlines()
    for line in too_wide(lines):
        logging.getLogger(__name__).warning("%s: code of more than %d columns: %s", name, WIDEST, line)


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.add_role("figure", figure)
    app.connect("doctree-read", join)
    app.connect("source-read", link_files)
    app.connect("autodoc-process-docstring", shorten, priority=300)  # before napoleon
    app.connect("autodoc-process-docstring", link_in_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What the pages need beyond Sphinx and MyST: formulas, published figures, and links to files."""

import re

from docutils import nodes
from latex2mathml.converter import convert

from experiments.reporting import figures


def formula(translator, node) -> None:
    """A formula as MathML, which browsers display without a script and without a network."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    translator.body.append(f'<span class="formula-{display}">{convert(node.astext(), display=display)}</span>')
    raise nodes.SkipNode


def figure(name, rawtext, text, lineno, inliner, options=None, content=None):
    """The role of published values: {figure}`digits.accuracy %` of ``experiments/figures.toml``, in per cent."""
    inliner.document.settings.env.note_dependency(str(figures.FILE))
    try:
        return [nodes.Text(figures.text(figures.load(figures.FILE), text))], []
    except ValueError as error:
        message = inliner.reporter.error(str(error), line=lineno)
        return [inliner.problematic(rawtext, rawtext, message)], [message]


def rewrite(app, docname: str, source: list[str]) -> None:
    """Files that a page names, as ``docs/ema.md``, become links; a value and its error stay on one line."""
    if not docname.startswith("reference/"):
        text = source[0].replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
        text = re.sub(r"(?<!\[)`docs/([\w/]+\.md)`", r"[`docs/\1`](</\1>)", text)
        source[0] = re.sub(r"(?<!\[)`colabs/(\w+\.ipynb)`", r"[`colabs/\1`](</notebooks/\1>)", text)


def link_in_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = [re.sub(r"``docs/([\w/]+)\.md``", r":doc:`docs/\1.md </\1>`", line) for line in lines]


def setup(app):
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
    app.add_role("figure", figure)
    app.connect("source-read", rewrite)
    app.connect("include-read", lambda app, file, docname, source: rewrite(app, docname, source))
    app.connect("autodoc-process-docstring", link_in_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

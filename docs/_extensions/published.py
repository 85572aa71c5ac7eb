"""The role of published values: {figure}`digits.accuracy %` is one of ``experiments/figures.toml``, in per cent."""

from docutils import nodes

from experiments.reporting import figures


def setup(app):
    known = figures.load(figures.FILE)

    def figure(name, rawtext, text, lineno, inliner, options=None, content=None):
        inliner.document.settings.env.note_dependency(str(figures.FILE))
        try:
            return [nodes.Text(figures.text(known, text))], []
        except ValueError as error:
            message = inliner.reporter.error(str(error), line=lineno)
            return [inliner.problematic(rawtext, rawtext, message)], [message]

    app.add_role("figure", figure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

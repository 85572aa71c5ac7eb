"""In the cells of tables a value and its error stay on one line."""

from docutils import nodes


def join(app, doctree) -> None:
    for table in doctree.findall(nodes.table):
        for text in list(table.findall(nodes.Text)):
            if " ± " in text:
                text.parent.replace(text, nodes.Text(text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")))


def setup(app):
    app.connect("doctree-read", join)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Searches that a page answers, named in it as ``<!-- search: own images, multi gpu -->``, in the index of the site."""

import re

WORDS = re.compile(r"<!-- search: (.+?) -->", re.DOTALL)


def add_entries(app, docname: str, source: list[str]) -> None:
    """Makes them main entries of the index, which the search of Sphinx puts above words of the text."""
    source[0] = WORDS.sub(lambda found: "```{index} " + re.sub(r"(^|, *)", r"\1! ", found[1]) + "\n```", source[0])


def setup(app):
    app.connect("source-read", add_entries)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The calls in the tables of "The same numbers" on the pages of docs/coming_from."""

import pathlib
import re

PAGES = pathlib.Path(__file__).parents[2] / "docs" / "coming_from"
SHAPE = (6, 2)
"""Of the states of both packages."""


def rows(package: str) -> list[tuple[str, ...]]:
    """The code of theirs, the cell of ours and the printed difference of each row."""
    table = (PAGES / f"{package}.md").read_text().partition("| here | difference |\n")[2].partition("\n\n")[0]
    return [re.findall(r"^\| `(.*?)` \| (.*) \| (\S+) \|$", line)[0] for line in table.splitlines()[1:]]

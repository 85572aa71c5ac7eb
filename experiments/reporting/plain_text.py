"""Text of other people in figures: captions, names of classes, runs and files."""

from matplotlib.figure import Figure
from matplotlib.text import Text

from experiments.cli.outputs import encodable

LIMIT = 120
"""Characters of a text in a figure."""


def plain(text: str) -> str:
    r"""The text as matplotlib draws it as it stands, without formulas, and shortened to :data:`LIMIT` characters.

    >>> print(plain("$1 and $2"))
    \$1 and \$2
    """
    text = encodable(text[:LIMIT] + " …" * (len(text) > LIMIT))
    return text.replace("$", r"\$")


def make_plain(figure: Figure) -> None:
    """Makes titles, legends and all other text of a figure :func:`plain`; labels of ticks are set as such."""
    for text in figure.findobj(Text):
        text.set_text(plain(text.get_text()))

"""PNG files of matplotlib figures: no pyplot, no global state; every text is drawn as it stands."""

import io
import os
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from experiments.cli.outputs import encodable
from scorekit.io.files import write_atomic

PathLike = str | os.PathLike[str]

DPI = 100
COLOURS = ("#2166ac", "#d6604d", "#1b7837", "#762a83", "#b8860b", "#444444")
LIMIT = 120
"""Characters of a text in a figure."""


def plain(text: object) -> str:
    r"""A text as matplotlib draws it as it stands, without formulas, and shortened to :data:`LIMIT` characters.

    >>> print(plain("$1 and $2"))
    \$1 and \$2
    """
    text = str(text)
    return encodable(text[:LIMIT] + " …" * (len(text) > LIMIT)).replace("$", r"\$")


def legend(figure: Figure, **place) -> None:
    """One legend of the labels of all axes, each once; none where nothing has a label."""
    pairs = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in figure.axes]
    handles = {label: handle for each in pairs for handle, label in each}
    if handles:
        figure.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, **place)


def save(figure: Figure, path: PathLike) -> Path:
    """Writes a figure on white, cut to what is drawn; labels of ticks must be :func:`plain` already."""
    for text in figure.findobj(Text):
        text.set_text(plain(text.get_text()))
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.12, facecolor="white")
    return write_atomic(path, png.getvalue())

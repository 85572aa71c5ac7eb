"""A picture of captioned pictures: the stages of each side by side, the caption under them."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.plots import save

_DPI, _SIDE = 100, 128
"""Dots per inch, and the least dots of a side of a picture."""


def wrap(caption: str, width: int = 24) -> list[str]:
    """A caption as at most three lines.

    >>> wrap("a very long caption that does not fit into a line", 20)
    ['a very long caption', 'that does not fit', 'into a line']
    """
    return textwrap.wrap(caption, width, max_lines=3, placeholder=" …") or [""]


def captioned_grid(
    path: str | Path,
    stages: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    columns: int | None = None,
    title: str | None = None,
) -> Path:
    """Writes a PNG file with a cell for each of N captions.

    Args:
      stages: pictures ``(N, H, W, C)`` in [-1, 1] of each stage, C = 1 or 3; all are shown at one size, pixel by pixel.
      columns: cells in a row; by default so many that the picture is about as wide as high.
    """
    number = len(captions)
    if columns is None:
        columns = min(number, max(1, round(math.sqrt(1.3 * number / len(stages)))))
    rows = -(-number // columns)
    side = max(_SIDE, max(x.shape[1] for x in stages)) / _DPI
    wrapped = [wrap(caption, round(15 * (side + 0.05) * len(stages))) for caption in captions]
    texts = [0.17 * max(map(len, wrapped[i * columns : (i + 1) * columns])) + 0.1 for i in range(rows)]
    width, top = (side + 0.05) * len(stages) + 0.15, 0.35 if title else 0.05
    figure = Figure((columns * width, rows * side + sum(texts) + top), dpi=_DPI)
    total_width, total_height = figure.get_size_inches()
    for i, caption in enumerate(wrapped):
        row, left = i // columns, (i % columns) * width + 0.1
        text, bottom = texts[row], total_height - top - (row + 1) * side - sum(texts[: row + 1])
        for k, x in enumerate(stages):
            box = (left + k * (side + 0.05), bottom + text, side, side)
            axes = figure.add_axes(tuple(np.divide(box, [total_width, total_height] * 2)))
            picture = np.clip(0.5 * x[i] + 0.5, 0.0, 1.0)
            shown = picture[..., 0] if picture.shape[-1] == 1 else picture
            axes.imshow(shown, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
            axes.set_axis_off()
        middle = left + 0.5 * (width - 0.2)
        at = (middle / total_width, (bottom + text - 0.04) / total_height)
        figure.text(*at, "\n".join(caption), ha="center", va="top", fontsize=8)
    if title:
        figure.text(0.5, 1 - 0.1 / total_height, title, ha="center", va="top", fontsize=10)
    return save(figure, path, cut=False)

"""A grid of cells as one PNG file: images, clouds of points, histograms, or whatever draws into axes.

Images are float in [-1, 1], ``(H, W, C)`` with C = 1 or 3; values outside are clipped, NaN is white. Each is enlarged
by a whole factor, pixel by pixel, so that 8x8 digits can be read and images of several resolutions have one size. A
cell of another kind is a function that draws into the axes that it is given, such as :func:`scatter` returns.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from experiments.reporting.png import COLOURS, DPI, PathLike, legend, plain, save

Draw: TypeAlias = Callable[[Axes], None]
Cell: TypeAlias = ArrayLike | Draw | None
_GAP, _LINE, _LETTER = 4, 14, 8
"""Pixels between images, of a line of a caption, and of a letter with some room."""


def grid(
    path: PathLike,
    cells: Sequence[Sequence[Cell] | np.ndarray] | np.ndarray,
    rows: Sequence[object] | None = None,
    columns: Sequence[object] | None = None,
    *,
    captions: Sequence[str] = (),
    title: str = "",
    xlabel: str = "",
    side: int = 56,
    size: tuple[float, float] = (3.6, 3.6),
    share: bool = False,
) -> Path:
    """Writes rows of cells, left to right; returns the path.

    Args:
      path: the PNG file to write.
      cells: as many in each row; None is empty. Images alone may be an array ``(rows, columns, H, W, C)``.
      rows: a title for each row, such as its class.
      columns: a title for each column.
      captions: a text under each image, row by row, as far as they go.
      title: printed above.
      xlabel: what the columns are, printed above their titles.
      side: the least pixels of the longer side of an image.
      size: width and height of a cell, in inches, of a grid that is not of images alone.
      share: whether such cells share their axes.
    """
    lines = [list(line) for line in cells]
    if not lines or not lines[0] or len({len(line) for line in lines}) != 1:
        raise ValueError(f"cells must be rows of as many cells each, at least one, got {[len(line) for line in lines]}")
    for name, labels, n in (("rows", rows, len(lines)), ("columns", columns, len(lines[0]))):
        if labels is not None and len(labels) != n:
            raise ValueError(f"{name} must have {n} entries, got {len(labels)}")
    top, left = [[_broken(x) for x in labels or ()] for labels in (columns, rows)]
    if any(callable(cell) for line in lines for cell in line):
        figure = _subplots(lines, left, top, size, share)
        figure.suptitle(title, fontsize=12)
        return save(figure, path)
    images = [[None if cell is None else _image(cell) for cell in line] for line in lines]
    figure, axes = _tiles(images, left, top, captions, side)
    axes.set_xlabel(xlabel, fontsize=9)
    axes.set_title(title, fontsize=11, pad=10)
    return save(figure, path)


def in_rows(cells: Sequence[Cell] | np.ndarray, columns: int | None = None) -> list[list[Cell]]:
    """Cells in rows of so many columns, by default as square as it gets; the last row is filled up with None.

    >>> in_rows([1, 2, 3])
    [[1, 2], [3, None]]
    """
    columns = columns or int(np.ceil(np.sqrt(len(cells))))
    filled = [*cells, *[None] * (-len(cells) % columns)]
    return [filled[i : i + columns] for i in range(0, len(filled), columns)]


def _image(cell: Cell) -> np.ndarray:
    image = np.asarray(cell, np.float32)
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or image.size == 0:
        raise ValueError(f"an image must be (H, W, C) with C = 1 or 3 and not empty, got {image.shape}")
    return image


def _broken(label: object) -> str:
    """A label in at most three lines of 24 letters, unless it has lines of its own."""
    return plain(label if "\n" in str(label) else _wrapped(str(label), 24))


def _wrapped(text: str, letters: int) -> str:
    return "\n".join(textwrap.wrap(text, max(letters, 3), max_lines=3, placeholder=" …"))


def _tiles(
    cells: list[list[np.ndarray | None]], rows: list[str], columns: list[str], captions: Sequence[str], side: int
) -> tuple[Figure, Axes]:
    """All images as one picture, of which one pixel is one pixel of the file, with the titles as labels of ticks."""
    images = [cell for line in cells for cell in line if cell is not None]
    least = max(max(image.shape[:2]) * -(-side // max(image.shape[:2])) for image in images)
    zoom = lambda image: least // max(image.shape[:2])
    high, wide = (max(image.shape[k] * zoom(image) for image in images) for k in (0, 1))
    texts = [_wrapped(text, wide // (_LETTER - 1)) for text in captions]
    in_row = [texts[i * len(cells[0]) : (i + 1) * len(cells[0])] for i in range(len(cells))]
    room = [_GAP + _LINE * max((text.count("\n") + 1 for text in each), default=0) for each in in_row]
    lefts, tops = np.arange(len(cells[0])) * (wide + _GAP), np.cumsum([0, *(high + each for each in room[:-1])])
    picture = np.ones((tops[-1] + high, lefts[-1] + wide, 3))
    for top, line in zip(tops, cells, strict=True):
        for left, image in zip(lefts, line, strict=True):
            if image is not None:
                shown = np.nan_to_num(np.clip((image + 1) / 2, 0, 1), nan=1.0)
                shown = shown.repeat(zoom(image), axis=0).repeat(zoom(image), axis=1)
                picture[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    figure = Figure(figsize=(picture.shape[1] / DPI, picture.shape[0] / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest", aspect="auto", extent=(0, picture.shape[1], picture.shape[0], 0))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_yticks(tops + high / 2 if rows else [], rows)
    widest = max((len(line) for label in columns for line in label.split("\n")), default=0)
    slanted = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if widest * _LETTER > wide + _GAP else {}
    axes.set_xticks(lefts + wide / 2 if columns else [], columns, **slanted)
    for top, each in zip(tops, in_row, strict=True):
        for left, text in zip(lefts, each, strict=False):
            axes.text(left + wide / 2, top + high + 2, text, ha="center", va="top", fontsize=8)
    return figure, axes


# ---- cells that draw into axes -------------------------------------------------------------------------------------


def _subplots(
    cells: list[list[Cell]], rows: list[str], columns: list[str], size: tuple[float, float], share: bool
) -> Figure:
    shape = len(cells), len(cells[0])
    figure = Figure(figsize=(size[0] * shape[1] + 0.4, size[1] * shape[0] + 0.4), layout="constrained")
    panels = figure.subplots(*shape, sharex=share, sharey=share, squeeze=False)
    for (i, j), axes in np.ndenumerate(panels):
        cell = cells[i][j]
        if callable(cell):
            cell(axes)
        else:
            axes.set_axis_off()
        if i == 0 and columns:
            axes.set_title(columns[j], fontsize=10)
        if j == 0 and rows:
            axes.annotate(rows[i], (-0.25, 0.5), xycoords="axes fraction", ha="right", va="center")
    legend(figure, loc="outside lower center", ncols=4)
    return figure


def scatter(
    *clouds: ArrayLike,
    labels: tuple[str, str] = ("x₁", "x₂"),
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
    mark: np.ndarray | None = None,
) -> Draw:
    """Clouds of points ``(N, 2)``, those that are finite, in a colour each.

    Args:
      labels: labels of the axes.
      limits: the ends of both axes, which then have scales of their own.
      mark: a point that broken lines cross at.
    """

    def draw(axes: Axes) -> None:
        for cloud, colour in zip(clouds, COLOURS, strict=False):
            xy = finite(cloud)
            alpha = float(np.clip(300 / max(len(xy), 1), 0.05, 0.8))
            axes.scatter(*xy.T, s=6, color=colour, alpha=alpha, linewidths=0, rasterized=True)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.grid(alpha=0.25)
        if limits is None:
            axes.set_aspect("equal", adjustable="box")
        else:
            axes.set(xlim=limits[0], ylim=limits[1])
        if mark is not None:
            axes.axvline(mark[0], color="black", linewidth=0.9, linestyle="--")
            axes.axhline(mark[1], color="black", linewidth=0.9, linestyle="--")

    return draw


def finite(points: ArrayLike) -> np.ndarray:
    """The finite points of ``(N, 2)``."""
    xy = np.asarray(points, float)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError(f"points must have the shape (N, 2), got {xy.shape}")
    return xy[np.all(np.isfinite(xy), axis=1)]


def clouds(path: PathLike, points: Mapping[str, ArrayLike], title: str = "") -> Path:
    """Clouds of points ``(N, 2)`` by name, side by side on the same axes; points that are not finite are counted."""
    names = []
    for name, xy in points.items():
        bad = len(np.asarray(xy)) - len(finite(xy))
        names.append(f"{name} ({len(np.asarray(xy)):,} points{f', {bad} not finite' if bad else ''})")
    return grid(path, [[scatter(xy) for xy in points.values()]], columns=names, title=title, share=True)

"""Curves in panels as one PNG file: lines, histograms and dots, with their errors, over axes with units."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from experiments.reporting.png import COLOURS, PathLike, legend, save

NOISE_AXIS = "log-SNR (nats):  noise ←  → data"
_STYLES = ("-", "--", ":", "-.")
_GREY = {"color": "0.35", "linewidth": 1.4}  # no line of a panel has it
_DASHES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
_MARKED = 40
"""Most points of a line that are marked."""


class Line(NamedTuple):
    """A line through points; a histogram where ``x`` has the edges of its bins, one more than ``y``.

    Attributes:
      x, y: ``(n,)``; names instead of numbers are categories. Values that are not finite are left out.
      error: half the length of an error bar at each point.
      texts: a text at each point.
      style: arguments of matplotlib, such as ``{"linestyle": "", "marker": "."}`` for dots alone.
    """

    x: ArrayLike
    y: ArrayLike
    error: ArrayLike | None = None
    texts: Sequence[str] = ()
    style: Mapping[str, Any] = {}


class Panel(NamedTuple):
    """Lines over the same axes.

    Attributes:
      lines: line by name; a name has the same colour in every panel, and no name none in the legend.
      xlabel, ylabel: labels of the axes, with their units.
      title: printed above.
      levels: name -> the height of a broken line across.
      places: name -> the place of a broken line from the bottom to the top.
      bands: name -> ``x``, lower and upper ends of a grey band, ``(n,)`` each.
      axes: further properties of the axes, such as ``{"xscale": "log", "ylim": (0, 1)}``.
    """

    lines: Mapping[str, Line]
    xlabel: str
    ylabel: str
    title: str = ""
    levels: Mapping[str, float] = {}
    places: Mapping[str, float] = {}
    bands: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]] = {}
    axes: Mapping[str, Any] = {}


def curves(
    path: PathLike,
    panels: Sequence[Panel],
    *,
    columns: int = 3,
    title: str = "",
    share: bool = False,
) -> Path:
    """Writes panels in rows; returns the path.

    Args:
      path: the PNG file to write.
      columns: most panels in a row.
      title: printed above.
      share: whether all panels have the same limits and scales.
    """
    columns = min(columns, len(panels))
    rows, (width, height) = -(-len(panels) // columns), (7.2, 4.2) if columns == 1 else (3.8, 3.2)
    figure = Figure(figsize=(width * columns + 1.6, height * rows + 0.4), layout="constrained")
    all_axes = figure.subplots(rows, columns, sharex=share, sharey=share, squeeze=False).ravel()
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    broken = dict.fromkeys(name for panel in panels for name in (*panel.levels, *panel.places))
    dashes = dict(zip(broken, itertools.cycle(_DASHES), strict=False))
    for axes, panel in zip(all_axes, panels, strict=False):
        for name, (x, low, high) in panel.bands.items():
            axes.fill_between(np.asarray(x), low, high, color="#999999", alpha=0.35, linewidth=0, label=name)
        for name, line in panel.lines.items():
            turn, i = divmod(names.index(name), len(COLOURS))
            _draw(axes, name, line, {"color": COLOURS[i], "linestyle": _STYLES[turn % len(_STYLES)]})
        for name, value in panel.levels.items():
            axes.axhline(value, linestyle=dashes[name], label=name, **_GREY)
        for name, value in panel.places.items():
            axes.axvline(value, linestyle=dashes[name], label=name, **_GREY)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(panel.title, fontsize=10)
        axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel, **panel.axes)
    for axes in all_axes[len(panels) :]:
        axes.remove()
    legend(figure, loc="outside right center")
    figure.suptitle(title, fontsize=12)
    return save(figure, path)


def lines(
    x: ArrayLike, values: Mapping[str, ArrayLike], errors: Mapping[str, ArrayLike] | None = None
) -> dict[str, Line]:
    """Lines by name over the same ``x``, with error bars where there are any."""
    return {name: Line(x, y, (errors or {}).get(name)) for name, y in values.items()}


def scale(*values: ArrayLike) -> str:
    """The scale of an axis: ``"log"`` for positive values that span more than a factor of 10, else ``"linear"``.

    >>> scale([1, 20]), scale([1, 5], [20, float("nan")]), scale([0, 20])
    ('log', 'log', 'linear')
    """
    flat = np.concatenate([np.ravel(np.asarray(v, float)) for v in values])
    flat = flat[np.isfinite(flat)]
    return "log" if flat.size and flat.min() > 0 and flat.max() > 10 * flat.min() else "linear"


def _draw(axes: Axes, name: str, line: Line, style: dict[str, Any]) -> None:
    x, y = np.asarray(line.x), np.asarray(line.y)
    if x.ndim != 1 or y.ndim != 1 or len(x) - len(y) not in (0, 1):
        raise ValueError(f"{name}: y must have as many values as x, or one fewer than edges, got {y.shape}, {x.shape}")
    y = np.where(np.isfinite(y), y, np.nan) if y.dtype.kind in "fiub" else y
    style = {"linewidth": 1.8, "label": name or None, **style, **line.style}
    if len(x) > len(y):
        axes.stairs(y, x, baseline=None, **style)
        return
    axes.plot(x, y, **{"marker": "o" if len(x) <= _MARKED else "", "markersize": 4, **style})
    if line.error is not None:
        axes.errorbar(x, y, np.asarray(line.error, float), fmt="none", ecolor=style["color"], capsize=3)
    for text, *place in zip(line.texts, x, y, strict=False):
        axes.annotate(text, tuple(place), xytext=(4, 4), textcoords="offset points", fontsize=8, color=style["color"])

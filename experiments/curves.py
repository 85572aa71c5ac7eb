"""Curves of noise level and feature scale: numpy arrays in, one PNG file out, as in :mod:`experiments.plots`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from experiments.plots import _COLOURS, PathLike, _cycle, _log_if_wide, _save

_STYLES = ("-", "--", ":", "-.")


def panels(
    path: PathLike,
    x: ArrayLike,
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    logarithmic: bool = True,
    shades: Mapping[str, Mapping[str, ArrayLike]] | None = None,
) -> Path:
    """Curves over one axis, in one panel or several side by side that share their axes.

    Args:
      path: the PNG file to write.
      x: ``(n,)``.
      curves: title of the panel -> name -> ``(n,)``. A name has the same colour in every panel; values that are not
        finite are left out.
      xlabel: what ``x`` is, with its unit.
      ylabel: what the curves are, with their unit.
      title: printed above.
      logarithmic: a logarithmic y axis where the values are positive and span more than a factor of 10.
      shades: title of a panel -> name -> half the width of a shade around that curve.
    """
    x = np.asarray(x, float)
    names = list(dict.fromkeys(name for panel in curves.values() for name in panel))
    for panel in curves.values():
        for name, values in panel.items():
            if np.shape(values) != x.shape:
                raise ValueError(f"{name} must have the shape {x.shape} of x, got {np.shape(values)}")
    n = len(curves)
    figure = Figure(figsize=(8.4 if n == 1 else 4.2 * n + 1.6, 4.4), layout="constrained")
    axes = figure.subplots(1, n, sharex=True, sharey=True, squeeze=False)[0]
    colours = dict(zip(names, _cycle(len(names)), strict=True))
    for ax, (heading, panel) in zip(axes, curves.items(), strict=True):
        for name, values in panel.items():
            style = _STYLES[names.index(name) // len(_COLOURS) % len(_STYLES)]
            values = np.where(np.isfinite(values), values, np.nan)
            ax.plot(x, values, style, color=colours[name], linewidth=1.8, marker=".", label=name)
            if shades and name in shades.get(heading, {}):
                width = np.asarray(shades[heading][name], float)
                ax.fill_between(x, values - width, values + width, color=colours[name], alpha=0.2, linewidth=0)
        ax.set_title(heading, fontsize=10)
        ax.set_xlabel(xlabel)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    if logarithmic:
        _log_if_wide(axes[0], *(values for panel in curves.values() for values in panel.values()))
    axes[0].set_ylabel(ylabel)
    handles = {line.get_label(): line for ax in axes for line in ax.get_lines()}
    figure.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, loc="outside right upper")
    if title:
        figure.suptitle(title, fontsize=12)
    return _save(figure, path)

"""Curves and histograms: numpy arrays in, one PNG file out, as in :mod:`experiments.reporting.plots`.

Args:
  path: the PNG file to write.
  title: printed above.
  x: ``(n,)``.
  xlabel, ylabel: labels of the axes, with their units.
  curves, metrics, values: name -> ``(n,)``; a name has the same colour in every panel.
  log_x: a logarithmic x axis.
  lines: name -> the place of a line across.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from experiments.reporting.plots import _COLOURS, PathLike, _axes, _cycle, _log_if_wide, save

_BINS = 50
_STYLES = ("-", "--", ":", "-.")
_DASHES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))  # of lines in a grey that no curve has


def panels(
    path: PathLike,
    x: ArrayLike,
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    logarithmic: bool = True,
    log_x: bool = False,
    shades: Mapping[str, Mapping[str, ArrayLike]] | None = None,
) -> Path:
    """Curves over one axis, by title in one panel or several side by side that share their axes.

    Args:
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
    if log_x:
        axes[0].set_xscale("log")
    if logarithmic:
        _log_if_wide(axes[0], *(values for panel in curves.values() for values in panel.values()))
    axes[0].set_ylabel(ylabel)
    handles = {line.get_label(): line for ax in axes for line in ax.get_lines()}
    figure.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, loc="outside right upper")
    if title:
        figure.suptitle(title, fontsize=12)
    return save(figure, path)


def metric_panels(
    path: PathLike,
    x: ArrayLike,
    metrics: Mapping[str, Mapping[str, ArrayLike]],
    *,
    xlabel: str,
    title: str | None = None,
    errors: Mapping[str, Mapping[str, ArrayLike]] | None = None,
    levels: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Metrics in units of their own over one axis, a panel each, by the label of the y axis.

    Args:
      errors: the label of the y axis -> name -> half the length of an error bar, ``(n,)``.
      levels: the label of the y axis -> name -> a value that does not depend on ``x``, a broken line in grey.
    """
    x, columns, levels = np.asarray(x, float), min(3, len(metrics)), levels or {}
    rows = -(-len(metrics) // columns)
    names = list(dict.fromkeys(name for curves in metrics.values() for name in curves))
    colours = dict(zip(names, _cycle(len(names)), strict=True))
    across = list(dict.fromkeys(name for values in levels.values() for name in values))
    dashes = dict(zip(across, itertools.cycle(_DASHES), strict=False))
    figure = Figure(figsize=(3.6 * columns + 1.6, 2.7 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (metric, curves) in zip(axes, metrics.items(), strict=False):
        for name, values in curves.items():
            style = _STYLES[names.index(name) // len(_COLOURS) % len(_STYLES)]
            values = np.asarray(values, float)
            ax.plot(x, values, f"o{style}", color=colours[name], linewidth=1.8, markersize=4, label=name)
            if errors and name in errors.get(metric, {}):
                widths = np.asarray(errors[metric][name], float)
                ax.errorbar(x, values, widths, fmt="none", ecolor=colours[name], capsize=3)
        for name, value in levels.get(metric, {}).items():
            ax.axhline(value, color="0.35", linestyle=dashes[name], linewidth=1.4, label=name)
        ax.set_xlabel(xlabel)
        ax.set_ylabel(metric)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[len(metrics) :]:
        ax.remove()
    lines = {line.get_label(): line for ax in axes[: len(metrics)] for line in ax.get_lines()}
    handles = {name: line for name, line in lines.items() if name in colours or name in dashes}
    figure.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, loc="outside right upper")
    if title:
        figure.suptitle(title, fontsize=12)
    return save(figure, path)


def trade_off(
    path: PathLike,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike, Sequence[str]]],
    *,
    xlabel: str,
    ylabel: str,
    bands: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """Two metrics against each other, a line through the settings of each curve in their order.

    ``curves`` has ``(n,)`` values of the one, ``(n,)`` of the other, and the text at each point; ``bands`` are ranges
    of the first that are shaded.
    """
    figure, axes = _axes(None, xlabel, ylabel)
    for name, (low, high) in (bands or {}).items():
        axes.axvspan(low, high, color="0.9", label=name)
    for (name, (x, y, texts)), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        x, y = np.asarray(x, float), np.asarray(y, float)
        axes.plot(x, y, "o-", color=colour, linewidth=1.8, markersize=4, label=name)
        for each in zip(texts, x, y, strict=True):
            axes.annotate(each[0], each[1:], xytext=(4, 4), textcoords="offset points", fontsize=8, color=colour)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return save(figure, path)


def histograms(
    path: PathLike,
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    xlabels: Mapping[str, str] | None = None,
    lines: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Densities of several sets of values ``(N,)``, all finite, on the same axis, a panel for each quantity.

    The axis reaches five times the range of the first set (between its 0.5 % and 99.5 % quantiles) to either side, or
    as far as there is anything; what lies beyond is put in the outermost bins. ``xlabels`` are by default the
    quantities.
    """
    figure = Figure(figsize=(7.2, 2.9 * len(panels) + 0.3), layout="constrained")
    names = list(dict.fromkeys(name for sets in panels.values() for name in sets))
    colours = dict(zip(names, _cycle(len(names)), strict=True))
    for axes, (quantity, sets) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items(), strict=True
    ):
        values = {name: np.ravel(np.asarray(v, float)) for name, v in sets.items()}
        for name, v in values.items():
            if v.size == 0 or not np.all(np.isfinite(v)):
                raise ValueError(f"panels[{quantity!r}][{name!r}] must be finite values, at least one, got {v}")
        ends = np.array([np.quantile(v, (0.005, 0.995)) for v in values.values()])
        reach = 5 * (ends[0, 1] - ends[0, 0])
        low, high = max(ends[:, 0].min(), ends[0, 0] - reach), min(ends[:, 1].max(), ends[0, 1] + reach)
        edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
        for name, v in values.items():
            heights, _ = np.histogram(np.clip(v, edges[0], edges[-1]), edges, density=True)
            axes.stairs(heights, edges, color=colours[name], linewidth=1.8, label=f"{name} ({v.size:,})")
            axes.stairs(heights, edges, color=colours[name], fill=True, alpha=0.12)
        for i, (name, where) in enumerate(((lines or {}).get(quantity) or {}).items()):
            axes.axvline(where, color="#222222", linestyle=("--", ":", "-.")[i % 3], linewidth=1.2, label=name)
        axes.set_xlabel((xlabels or {}).get(quantity, quantity))
        axes.set_ylabel("density")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    return save(figure, path)


def curve(
    path: PathLike,
    x: ArrayLike,
    values: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    lines: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Path:
    """Named curves over one axis, which ``log_x`` makes logarithmic to base 2."""
    figure, axes = _axes(title, xlabel, ylabel)
    for (name, y), colour in zip(values.items(), _cycle(len(values)), strict=True):
        marker = "o-" if np.size(x) <= 20 else "-"
        axes.plot(np.asarray(x, float), np.asarray(y, float), marker, color=colour, markersize=4, label=name)
    for name, where in (lines or {}).items():
        axes.axhline(where, color="#222222", linestyle="--", linewidth=1, label=name)
    if log_x:
        axes.set_xscale("log", base=2)
        axes.set_xticks(np.asarray(x, float), [f"{v:g}" for v in np.asarray(x, float)])
    axes.legend(frameon=False)
    return save(figure, path)

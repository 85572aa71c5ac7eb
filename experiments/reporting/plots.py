"""Pictures of a run: numpy arrays in, one PNG file out. Every function returns the path that it wrote.

Images are float in [-1, 1], ``(..., H, W, C)`` with C = 1 or 3; values outside are clipped for display. Small images
are enlarged by a whole factor, pixel by pixel, so that 8x8 digits can be read. No pyplot and no global state.

Args:
  path: the PNG file to write.
  title: printed above.
  row_labels: one label a row, for instance the classes.
  xlabel, ylabel: labels of the axes, with their units.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from experiments.reporting.plain_text import make_plain, plain
from scorekit.io.files import write_atomic

PathLike = str | os.PathLike[str]

NOISE_AXIS = "log-SNR (nats):  noise ←  → data"
_DPI = 100
_LETTER = 8
"""Pixels of a letter above a column, with some room."""
_COLOURS = ("#2166ac", "#d6604d", "#1b7837", "#762a83", "#b8860b", "#444444")


def image_grid(
    path: PathLike,
    images: ArrayLike,
    *,
    columns: int | None = None,
    row_labels: Sequence[object] | None = None,
    title: str | None = None,
) -> Path:
    """Images ``(N, H, W, C)`` in rows, left to right.

    ``columns`` are by default a row for each of ``row_labels``, or as square as it gets.
    """
    images = _images("images", images, 4)
    n = len(images)
    if columns is None:
        columns = -(-n // len(row_labels)) if row_labels is not None else int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    blank = np.full((rows * columns - n, *images.shape[1:]), np.nan)
    cells = np.concatenate([images, blank]).reshape(rows, columns, *images.shape[1:])
    return _picture(path, cells, row_labels, None, title)


def guidance_strip(
    path: PathLike,
    images_by_scale: Mapping[float, ArrayLike],
    class_names: Sequence[str],
    title: str = "Samples by guidance scale γ",
) -> Path:
    """One row for each guidance scale, one column for each class.

    Args:
      images_by_scale: guidance scale -> ``(num_classes, H, W, C)``, drawn from the same noise.
      class_names: one label a column.
    """
    rows = [_images(f"images_by_scale[{scale:g}]", x, 4) for scale, x in images_by_scale.items()]
    if len({x.shape for x in rows}) != 1:
        raise ValueError(f"images_by_scale must hold arrays of one shape, got {[x.shape for x in rows]}")
    return _picture(path, np.stack(rows), [f"γ = {s:g}" for s in images_by_scale], class_names, title)


def comparison(
    path: PathLike,
    images_by_column: Mapping[str, ArrayLike],
    *,
    row_labels: Sequence[object] | None = None,
    title: str | None = None,
) -> Path:
    """One row for each example, one column for each version ``(N, H, W, C)`` of it, by its title."""
    columns = [_images(f"images_by_column[{name}]", x, 4) for name, x in images_by_column.items()]
    if len({x.shape for x in columns}) != 1:
        raise ValueError(f"images_by_column must hold arrays of one shape, got {[x.shape for x in columns]}")
    return _picture(path, np.stack(columns, 1), row_labels, list(images_by_column), title, least=84)


def trajectory_strip(path: PathLike, states: ArrayLike, labels: Sequence[object]) -> Path:
    """The reverse trajectory of a few samples, time running from left (noise) to right (data).

    A trajectory of more than 12 steps is thinned evenly, the first and the last step kept.

    Args:
      states: the noisy states ``x_t``, ``(steps, n, H, W, C)``, first step first.
      labels: ``(steps,)`` times or log-SNRs (printed with two digits) or strings.
    """
    states = _images("states", states, 5)
    if len(labels) != len(states):
        raise ValueError(f"labels must have one entry for each of {len(states)} steps, got {len(labels)}")
    keep = np.unique(np.linspace(0, len(states) - 1, min(12, len(states))).round().astype(int))
    title = "Reverse trajectory: from noise to data"
    names = [x if isinstance(x, str) else f"{float(x):.2g}" for x in (cast(Any, labels[i]) for i in keep)]
    return _picture(path, np.swapaxes(states[keep], 0, 1), None, names, title, "log-SNR (nats)")


def loss_by_noise_level(
    path: PathLike,
    log_snr_edges: ArrayLike,
    mean_loss: ArrayLike | Mapping[str, ArrayLike],
    count: ArrayLike | None = None,
    *,
    ylabel: str = "mean loss",
) -> Path:
    """The mean loss in bins of log-SNR, with the number of examples behind each bin as a shade.

    Args:
      log_snr_edges: ``(bins + 1,)``, increasing, in nats.
      mean_loss: ``(bins,)``, or name -> ``(bins,)`` for several curves. Bins that are not finite are left out.
      count: ``(bins,)`` examples per bin; bins without any are left out of the curves.
    """
    edges = np.asarray(log_snr_edges, float)
    if edges.ndim != 1 or not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
        raise ValueError(f"log_snr_edges must be finite and increasing, got {edges}")
    curves = dict(mean_loss) if isinstance(mean_loss, Mapping) else {"": mean_loss}
    counts = None if count is None else np.asarray(count, float)
    for name, values in (*curves.items(), *([] if counts is None else [("count", counts)])):
        if np.shape(values) != (len(edges) - 1,):
            raise ValueError(f"{name or 'mean_loss'} must have shape ({len(edges) - 1},), got {np.shape(values)}")
    figure, axes = _axes("Loss by noise level", NOISE_AXIS, ylabel)
    for (name, values), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        values = np.asarray(values, float)
        if counts is not None:
            values = np.where(counts > 0, values, np.nan)
        axes.stairs(values, edges, baseline=None, color=colour, linewidth=2, label=name or None)
    _log_if_wide(axes, *curves.values())
    if counts is not None:
        behind = axes.twinx()
        behind.stairs(counts, edges, fill=True, color="#999999", alpha=0.25)
        behind.set_ylabel("examples per bin (shaded)", color="#666666")
        behind.set_ylim(0, 1.05 * max(counts.max(), 1))
        behind.spines["top"].set_visible(False)
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)
    if "" not in curves:
        axes.legend(frameon=False)
    return save(figure, path)


def accuracy_by_noise_level(
    path: PathLike,
    log_snr: ArrayLike,
    accuracy: Mapping[str, ArrayLike],
    *,
    chance: float,
) -> Path:
    """The accuracy of classifiers, by name, at each log-SNR (nats); ``chance`` is the accuracy of guessing."""
    levels = np.asarray(log_snr, float)
    figure, axes = _axes("Accuracy by noise level", NOISE_AXIS, "share of test examples classified rightly")
    for (name, values), colour in zip(accuracy.items(), _cycle(len(accuracy)), strict=True):
        if np.shape(values) != levels.shape:
            raise ValueError(f"{name} must have shape {levels.shape} as log_snr, got {np.shape(values)}")
        axes.plot(levels, np.asarray(values, float), "o-", color=colour, markersize=4, linewidth=2, label=name)
    axes.axhline(chance, color="#666666", linestyle="--", linewidth=1, label=f"guessing, {chance:.2g}")
    axes.set_ylim(0, 1.03)
    axes.legend(frameon=False)
    return save(figure, path)


def training_curve(
    path: PathLike,
    steps: ArrayLike,
    loss: ArrayLike,
    *,
    held_out: tuple[ArrayLike, ArrayLike] | None = None,
    window: int = 20,
) -> Path:
    """The loss as logged (thin) and its running mean (thick).

    Args:
      steps, loss: ``(n,)``; losses that are not finite are left out and counted in the legend.
      held_out: ``(steps, loss)`` on data that is not trained on.
      window: points around each one that its running mean covers.
    """
    steps, loss = np.asarray(steps, float), np.asarray(loss, float)
    if steps.shape != loss.shape or steps.ndim != 1:
        raise ValueError(f"steps and loss must have one shape (n,), got {steps.shape} and {loss.shape}")
    finite = np.isfinite(loss)
    bad = int(np.sum(~finite))
    kept, values = steps[finite], loss[finite]
    total = np.concatenate([[0.0], np.cumsum(values)])
    middle = np.arange(len(values))
    first, last = np.maximum(middle - window // 2, 0), np.minimum(middle + window // 2 + 1, len(values))
    mean = (total[last] - total[first]) / (last - first)
    figure, axes = _axes("Training", "step", "loss")
    note = f" ({bad} not finite)" if bad else ""
    axes.plot(kept, values, color=_COLOURS[0], alpha=0.3, linewidth=0.8, label=f"as logged{note}")
    axes.plot(kept, mean, color=_COLOURS[0], linewidth=2, label=f"mean of {window} points")
    if held_out is not None:
        axes.plot(*map(np.asarray, held_out), "o-", color=_COLOURS[1], markersize=4, label="held out")
    _log_if_wide(axes, values)
    axes.legend(frameon=False)
    return save(figure, path)


def points_2d(path: PathLike, points: Mapping[str, ArrayLike], *, title: str | None = None) -> Path:
    """Clouds of points ``(N, 2)`` by name, side by side on the same axes, for densities in two dimensions.

    Points that are not finite are left out and counted above their panel.
    """
    clouds = {name: np.asarray(xy, float) for name, xy in points.items()}
    for name, xy in clouds.items():
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise ValueError(f"points[{name!r}] must have shape (N, 2), got {xy.shape}")
    figure = Figure(figsize=(3.6 * len(clouds) + 0.4, 4.2), layout="constrained")
    panels = figure.subplots(1, len(clouds), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, xy), colour in zip(panels, clouds.items(), _cycle(len(clouds)), strict=True):
        good = np.all(np.isfinite(xy), axis=1)
        bad = int(np.sum(~good))
        alpha = float(np.clip(300 / max(good.sum(), 1), 0.1, 0.8))
        axes.scatter(*xy[good].T, s=6, color=colour, alpha=alpha, linewidths=0)
        axes.set_title(f"{name} ({len(xy):,} points{f', {bad} not finite' if bad else ''})", fontsize=10)
        axes.set_aspect("equal", adjustable="box")
        axes.grid(alpha=0.25)
        axes.set_xlabel("x₁")
    panels[0].set_ylabel("x₂")
    if title:
        figure.suptitle(title, fontsize=12)
    return save(figure, path)


# ---- images as one picture ---------------------------------------------------------------------------------------


def _images(name: str, images: ArrayLike, ndim: int) -> np.ndarray:
    images = np.asarray(images, np.float32)
    if images.ndim != ndim or images.shape[-1] not in (1, 3) or images.size == 0:
        letters = "(N, H, W, C)" if ndim == 4 else "(steps, n, H, W, C)"
        raise ValueError(f"{name} must be {letters} with C = 1 or 3 and not empty, got {images.shape}")
    return images


def tile(cells: np.ndarray, zoom: int, gap: int) -> np.ndarray:
    """``(rows, columns, H, W, C)`` in [-1, 1] as one RGB picture in [0, 1]; NaN pixels and the gaps are white."""
    rows, columns, height, width, _ = cells.shape
    high, wide = height * zoom, width * zoom
    picture = np.ones((rows * (high + gap) - gap, columns * (wide + gap) - gap, 3))
    shown = np.nan_to_num(np.clip((cells + 1) / 2, 0, 1), nan=1.0)
    shown = shown.repeat(zoom, axis=2).repeat(zoom, axis=3)
    for i in range(rows):
        for j in range(columns):
            top, left = i * (high + gap), j * (wide + gap)
            picture[top : top + high, left : left + wide] = shown[i, j]
    return picture


def _picture(
    path: PathLike,
    cells: np.ndarray,
    row_labels: Sequence[object] | None,
    column_labels: Sequence[object] | None,
    title: str | None,
    axis_label: str | None = None,
    least: int = 56,
) -> Path:
    rows, columns, height, width, _ = cells.shape
    for name, labels, n in (("row_labels", row_labels, rows), ("column_labels", column_labels, columns)):
        if labels is not None and len(labels) != n:
            raise ValueError(f"{name} must have {n} entries, got {len(labels)}")
    zoom, gap = max(1, -(-least // max(height, width))), 4
    picture = tile(cells, zoom, gap)
    high, wide = picture.shape[:2]
    figure = Figure(figsize=(wide / _DPI, high / _DPI))
    axes = figure.add_axes((0, 0, 1, 1))  # one pixel of the picture is one pixel of the file
    axes.imshow(picture, interpolation="nearest", aspect="auto", extent=(0, wide, high, 0))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    pitch_y, pitch_x = height * zoom + gap, width * zoom + gap
    axes.set_yticks([i * pitch_y + height * zoom / 2 for i in range(rows)] if row_labels is not None else [])
    axes.set_xticks([j * pitch_x + width * zoom / 2 for j in range(columns)] if column_labels is not None else [])
    axes.set_yticklabels([plain(str(x)) for x in row_labels or ()])
    columns_as = [plain(str(x)) for x in column_labels or ()]
    widest = max((len(line) for label in columns_as for line in label.split("\n")), default=0)
    slanted = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if widest * _LETTER > pitch_x else {}
    axes.set_xticklabels(columns_as, **slanted)
    if axis_label:
        axes.set_xlabel(axis_label, fontsize=9)
    if title:
        axes.set_title(title, fontsize=11, pad=10)
    return save(figure, path)


# ---- curves ------------------------------------------------------------------------------------------------------


def _cycle(n: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(n)]


def _axes(title: str | None, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title or "", fontsize=12)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _log_if_wide(axes: Axes, *values: ArrayLike) -> None:
    """A logarithmic y axis for positive values that span more than a factor of 10."""
    flat = np.concatenate([np.ravel(np.asarray(v, float)) for v in values])
    flat = flat[np.isfinite(flat)]
    if flat.size and flat.min() > 0 and flat.max() > 10 * flat.min():
        axes.set_yscale("log")


def save(figure: Figure, path: PathLike, *, cut: bool = True) -> Path:
    """Writes a figure as PNG, on white, by default cut to what is drawn; its text is drawn as it stands."""
    make_plain(figure)
    png, inches = io.BytesIO(), "tight" if cut else None
    figure.savefig(png, format="png", dpi=_DPI, bbox_inches=inches, pad_inches=0.12, facecolor="white")
    return write_atomic(path, png.getvalue())

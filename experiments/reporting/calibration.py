"""Plots of a posterior and of its calibration: numpy arrays in, one PNG file out.

Args:
  path: the PNG file to write.
  samples: samples of the posterior ``(S, D)``.
  levels: nominal coverages ``(L,)``.
  count: number of simulations.
  confidence: probability that the curve of an exact posterior stays in the shaded band, at all levels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from experiments.reporting.plots import PathLike, _axes, _cycle, save
from scorekit import metrics

_SHADE = "#999999"
_LARGEST = 10
"""Most parameters in a pair plot."""


def pair_plot(
    path: PathLike,
    samples: ArrayLike | Mapping[str, ArrayLike],
    *,
    reference: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
) -> Path:
    """Histograms of each parameter on the diagonal, samples of each pair below it.

    Axes cover the central 99.8 % of what is drawn, and the truth.

    Args:
      samples: of more than 10 parameters the first 10 are drawn; or several sets of samples by name.
      reference: samples of the exact posterior ``(M, D)``.
      truth: parameters that the observation was simulated from, ``(D,)``.
      labels: names of the parameters, with their units; by default θ₁, θ₂, ….
    """
    given = samples if isinstance(samples, Mapping) else {"posterior": samples}
    given = given if reference is None else {**given, "reference": reference}
    clouds = {name: np.asarray(x, float) for name, x in given.items()}
    total = next(iter(clouds.values())).shape[-1]
    for name, x in clouds.items():
        if x.ndim != 2 or not x.size or x.shape[1] != total or not np.all(np.isfinite(x)):
            raise ValueError(f"{name} must hold finite samples (S, D) of one D, got {x.shape}")
    dim = min(total, _LARGEST)
    labels = [_name(i) for i in range(dim)] if labels is None else list(labels)
    point = None if truth is None else np.asarray(truth, float)
    if (point is not None and point.shape != (total,)) or len(labels) < dim:
        raise ValueError(f"truth and labels must have an entry for each of {total} parameters")
    size = max(1.5 * dim, 3.0)
    figure = Figure(figsize=(size + 0.6, size + 0.6), layout="constrained")
    panels = figure.subplots(dim, dim, squeeze=False)
    drawn = np.concatenate(list(clouds.values()))[:, :dim]
    bounds = [_bounds(column, None if point is None else point[i]) for i, column in enumerate(drawn.T)]
    for i in range(dim):
        for j in range(dim):
            axes = panels[i, j]
            if j > i:
                axes.set_axis_off()
                continue
            for (name, x), colour in zip(clouds.items(), _cycle(len(clouds)), strict=True):
                if i == j:
                    bins = np.linspace(*bounds[i], 40)
                    axes.hist(x[:, i], bins, density=True, histtype="step", color=colour, linewidth=1.5, label=name)
                else:
                    alpha = float(np.clip(200 / len(x), 0.05, 0.6))
                    axes.scatter(x[:, j], x[:, i], s=3, color=colour, alpha=alpha, linewidths=0, rasterized=True)
                    axes.set_ylim(bounds[i])
            if point is not None:
                axes.axvline(point[j], color="black", linewidth=0.9, linestyle="--", label="truth" if i == j else None)
                if i != j:
                    axes.axhline(point[i], color="black", linewidth=0.9, linestyle="--")
            axes.set_xlim(bounds[j])
            axes.tick_params(labelsize=7, labelbottom=i == dim - 1, labelleft=j == 0 and i > 0)
            if i == j:
                axes.set_yticks([])
            if i == dim - 1:
                axes.set_xlabel(labels[j])
            if j == 0:
                axes.set_ylabel("density" if i == 0 else labels[i])
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(dim, 3), frameon=False)
    shown = f" (the first {dim} of {total} parameters)" if dim < total else ""
    if title or shown:
        figure.suptitle((title or "Posterior") + shown, fontsize=12)
    return save(figure, path)


def _bounds(column: np.ndarray, point: float | None) -> tuple[float, float]:
    low, high = np.quantile(column, [0.001, 0.999])
    low, high = (low, high) if point is None else (min(low, point), max(high, point))
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def coverage_curves(
    path: PathLike,
    levels: ArrayLike,
    coverage: Mapping[str, ArrayLike],
    count: int,
    *,
    confidence: float = 0.95,
    title: str = "Coverage of credible regions",
) -> Path:
    """Coverages by nominal level: below the diagonal a posterior is too narrow, above it too wide.

    Args:
      coverage: name -> ``(L,)``, such as of each parameter, from :mod:`scorekit.metrics.calibration`.
    """
    levels = np.asarray(levels, float)
    for name, values in coverage.items():
        if np.shape(values) != levels.shape:
            raise ValueError(f"coverage[{name!r}] must have shape {levels.shape} as levels, got {np.shape(values)}")
    figure, axes = _axes(title, "nominal coverage", "share of simulations in the region")
    band = metrics.coverage_band(levels, count, confidence)
    axes.plot([0, 1], [0, 1], color="#666666", linestyle="--", linewidth=1)
    axes.fill_between(levels, band.low, band.high, color=_SHADE, alpha=0.35, label=_band_label(confidence, count))
    _curves(axes, levels, coverage)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    return save(figure, path)


def rank_plots(
    path: PathLike,
    ranks: ArrayLike,
    num_samples: int,
    *,
    labels: Sequence[str] | None = None,
    bins: int = 20,
    confidence: float = 0.95,
    title: str = "Ranks of the truth among samples of the posterior",
) -> Path:
    """Histograms of the ranks, and the distribution function minus the uniform one, of up to 10 parameters.

    A hump in the middle of the histogram says too wide, a valley too narrow, a slope biased.

    Args:
      ranks: ranks ``(N, D)`` from :func:`scorekit.metrics.posterior_ranks`.
      num_samples: number of samples S.
      labels: names of the parameters.
      bins: most bins of the histogram; fewer where that makes them equal, which is why S + 1 is best a multiple.
    """
    ranks = np.asarray(ranks)
    if ranks.ndim != 2 or not ranks.size or ranks.min() < 0 or ranks.max() > num_samples:
        raise ValueError(f"ranks must be (N, D) from 0 to {num_samples}, got shape {ranks.shape}")
    count, dim = len(ranks), min(ranks.shape[1], _LARGEST)
    names = [_name(i) for i in range(dim)] if labels is None else list(labels)[:dim]
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    equal = [n for n in range(5, bins + 1) if (num_samples + 1) % n == 0]
    edges = np.unique(np.linspace(0, num_samples + 1, (equal or [min(bins, num_samples + 1)])[-1] + 1).round())
    widths = np.diff(edges) / (num_samples + 1)
    # A band of each bin, with the probability of leaving any of them divided among the bins.
    each = [metrics.coverage_band(np.array([w]), count, 1 - (1 - confidence) / len(widths)) for w in widths]
    low, high = (np.array([getattr(b, side)[0] for b in each]) for side in ("low", "high"))
    x = edges / (num_samples + 1)
    left.stairs(high / widths, x, baseline=low / widths, fill=True, color=_SHADE, alpha=0.35)
    levels = np.linspace(0.02, 0.98, 49)
    band = metrics.coverage_band(levels, count, confidence)
    right.fill_between(
        levels, band.low - levels, band.high - levels, color=_SHADE, alpha=0.35, label=_band_label(confidence, count)
    )
    for name, column, colour in zip(names, ranks.T, _cycle(dim), strict=False):
        height = np.histogram(column, edges)[0] / count / widths
        left.stairs(height, x, baseline=None, color=colour, linewidth=1.5)
        thresholds = np.unique(np.round(levels * (num_samples + 1)))
        share = np.array([np.mean(column < threshold) for threshold in thresholds])
        place = thresholds / (num_samples + 1)
        right.plot(place, share - place, color=colour, linewidth=1.5, label=name)
    left.axhline(1, color="#666666", linestyle="--", linewidth=1)
    right.axhline(0, color="#666666", linestyle="--", linewidth=1)
    left.set(xlabel="rank / (S + 1)", ylabel="density of the ranks", xlim=(0, 1))
    right.set(xlabel="rank / (S + 1)", ylabel="distribution function − uniform", xlim=(0, 1))
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=12)
    return save(figure, path)


def _curves(axes: Axes, x: np.ndarray, curves: Mapping[str, ArrayLike]) -> None:
    for (name, values), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        axes.plot(x, np.asarray(values, float), "o-", color=colour, markersize=3, linewidth=1.5, label=name)


def _name(i: int) -> str:
    return "θ" + "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(i + 1))


def _band_label(confidence: float, count: int) -> str:
    return f"exact posterior, {confidence:.0%} of {count:,} simulations"

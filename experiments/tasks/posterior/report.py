"""Tables and pictures of the calibration of posteriors: coverage, ranks of the truth, and p-values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from experiments.reporting.curves import Line, Panel, curves, lines
from experiments.reporting.png import PathLike
from experiments.reporting.report import Figure, Heading, Section
from experiments.reporting.samples import pair_plot
from experiments.reporting.tables import Table
from scorekit import metrics

_CONFIDENCE = 0.95
"""Probability that the curve of an exact posterior stays in the band, at all levels."""
_LARGEST, _BINS = 10, 20
"""Most parameters whose ranks are drawn, and most bins of their histograms."""


def calibration_table(calibration: Any, levels: np.ndarray) -> Table:
    """Coverage of each curve, with the p-values of the tests that it and the ranks come from an exact posterior.

    Args:
      calibration: a ``Calibration``, as in the functions below.
      levels: nominal coverages.
    """
    shown = [int(np.abs(levels - level).argmin()) for level in (0.5, 0.9)]
    rows = []
    for name, curve in calibration.coverages.items():
        coverage = [float(curve[i]) for i in shown]
        p = [calibration.p_values[name], calibration.p_values.get(f"ranks of {name}")]
        rows.append([name, calibration.counts[name], *coverage, *p])
    samples = calibration.samples.shape[1]
    caption = f"Held-out rows with {samples} samples each. A p-value below 0.05 is rare of an exact posterior."
    return Table(["", "rows", "coverage of 50 %", "of 90 %", "p-value", "p-value of ranks"], rows, caption)


def calibration_values(calibration: Any, levels: np.ndarray) -> dict[str, Any]:
    """Every number, as for JSON."""
    values: dict[str, Any] = {"p_values": calibration.p_values, "levels": levels.tolist()}
    values["coverage"] = {name: curve.tolist() for name, curve in calibration.coverages.items()}
    return values | facts(calibration)


def facts(calibration: Any) -> dict[str, Any]:
    """The figures of the full posterior that were found."""
    log_prob, error = calibration.log_prob or (None, None)
    named = {
        "log p(theta | x) of held-out rows": log_prob,
        "its standard error": error,
        "accuracy against exact samples (C2ST)": calibration.accuracy,
        "p-value of new observations": calibration.predictive,
    }
    return {name: value for name, value in named.items() if value is not None}


def calibration_figures(stem: str, calibration: Any, levels: np.ndarray, names: Sequence[str]) -> list[Section]:
    """The first posterior, coverage and ranks, in files whose names begin with ``stem``."""
    samples, truth, count = calibration.samples, calibration.truth, len(calibration.truth)
    full = {name: curve for name, curve in calibration.coverages.items() if calibration.counts[name] == count}
    pairs = pair_plot(f"{stem}_pairs.png", {"posterior": samples[0]}, truth=truth[0], labels=names)
    coverage = coverage_curves(f"{stem}_coverage.png", levels, full, count)
    ranks = rank_plots(f"{stem}_ranks.png", calibration.ranks, samples.shape[1], names)
    return [
        Heading("Posterior"),
        Figure(pairs, "Given the first held-out observation, with the true parameters."),
        Figure(coverage, "The band holds the curves of an exact posterior."),
        Figure(ranks, "Ranks of the true parameters."),
    ]


def coverage_curves(path: PathLike, levels: np.ndarray, coverage: Mapping[str, ArrayLike], count: int) -> Path:
    """Coverages by nominal level: below the diagonal a posterior is too narrow, above it too wide.

    Args:
      path: the PNG file to write.
      levels: nominal coverages ``(L,)``.
      coverage: name -> ``(L,)``, such as of each parameter, from :mod:`scorekit.metrics.calibration`.
      count: number of simulations.
    """
    band, unit = metrics.coverage_band(levels, count, _CONFIDENCE), {"xlim": (0, 1), "ylim": (0, 1)}
    panel = Panel(
        {"": Line([0, 1], [0, 1], style={"color": "0.35", "linestyle": "--", "marker": ""}), **lines(levels, coverage)},
        "nominal coverage",
        "share of simulations in the region",
        "Coverage of credible regions",
        bands={_band_name(count): (levels, band.low, band.high)},
        axes=unit,
    )
    return curves(path, [panel])


def rank_plots(path: PathLike, ranks: np.ndarray, num_samples: int, names: Sequence[str]) -> Path:
    """Histograms of the ranks, and the distribution function minus the uniform one, of up to 10 parameters.

    A hump in the middle of the histogram says too wide, a valley too narrow, a slope biased.

    Args:
      path: the PNG file to write.
      ranks: ranks ``(N, D)`` from :func:`scorekit.metrics.posterior_ranks`.
      num_samples: number of samples S; bins are equal where S + 1 is a multiple of their number.
      names: names of the parameters.
    """
    if ranks.ndim != 2 or not ranks.size or ranks.min() < 0 or ranks.max() > num_samples:
        raise ValueError(f"ranks must be (N, D) from 0 to {num_samples}, got shape {ranks.shape}")
    count, total = len(ranks), num_samples + 1
    bins = max((n for n in range(5, _BINS + 1) if total % n == 0), default=min(_BINS, total))
    edges = np.unique(np.linspace(0, total, bins + 1).round())
    widths = np.diff(edges) / total
    # A band of each bin, with the probability of leaving any of them divided among the bins.
    each = [metrics.coverage_band(np.array([w]), count, 1 - (1 - _CONFIDENCE) / len(widths)) for w in widths]
    low, high = (np.repeat([getattr(b, side)[0] for b in each] / widths, 2) for side in ("low", "high"))
    levels = np.linspace(0.02, 0.98, 49)
    band = metrics.coverage_band(levels, count, _CONFIDENCE)
    thresholds = np.unique(np.round(levels * total))
    heights, differences = {}, {}
    for name, column in zip(names, ranks.T[:_LARGEST], strict=False):
        heights[name] = Line(edges / total, np.histogram(column, edges)[0] / count / widths)
        share = np.mean(column[:, None] < thresholds, axis=0)
        differences[name] = Line(thresholds / total, share - thresholds / total, style={"marker": ""})
    name, unit, x = _band_name(count), {"xlim": (0, 1)}, np.repeat(edges / total, 2)[1:-1]
    at, exact = "rank / (S + 1)", "uniform ranks"
    left = Panel(heights, at, "density of the ranks", "", {exact: 1.0}, bands={name: (x, low, high)}, axes=unit)
    bands = {name: (levels, band.low - levels, band.high - levels)}
    right = Panel(differences, at, "distribution function − uniform", "", {exact: 0.0}, bands=bands, axes=unit)
    return curves(path, [left, right], title="Ranks of the truth among samples of the posterior")


def _band_name(count: int) -> str:
    return f"exact posterior, {_CONFIDENCE:.0%} of {count:,} simulations"

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
from experiments.tasks.posterior.metrics import LEVELS, Calibration
from scorekit import metrics

_CONFIDENCE = 0.95
"""Probability that the curve of an exact posterior stays in the band, at all levels."""
_LARGEST = 10
"""Most parameters whose ranks are drawn."""


def calibration_table(calibration: Calibration) -> Table:
    """Coverage of each curve, with the p-values of the tests that it and the ranks come from an exact posterior."""
    shown = [int(np.abs(LEVELS - level).argmin()) for level in (0.5, 0.9)]
    rows = []
    for name, curve in calibration.coverages.items():
        coverage = [float(curve[i]) for i in shown]
        p = [calibration.p_values[name], calibration.p_values.get(f"ranks of {name}")]
        rows.append([name, calibration.counts[name], *coverage, *p])
    samples = calibration.samples.shape[1]
    caption = f"Held-out rows with {samples} samples each. A p-value below 0.05 is rare of an exact posterior."
    return Table(["", "rows", "coverage of 50 %", "of 90 %", "p-value", "p-value of ranks"], rows, caption)


def calibration_values(calibration: Calibration) -> dict[str, Any]:
    """Every number, as for JSON."""
    values: dict[str, Any] = {"p_values": calibration.p_values, "levels": LEVELS.tolist()}
    values["coverage"] = {name: curve.tolist() for name, curve in calibration.coverages.items()}
    return values | facts(calibration)


def facts(calibration: Calibration) -> dict[str, Any]:
    """The figures of the full posterior that were found."""
    log_prob, error = calibration.log_prob or (None, None)
    named = {
        "log p(theta | x) of held-out rows": log_prob,
        "its standard error": error,
        "accuracy against exact samples (C2ST)": calibration.accuracy,
        "p-value of new observations": calibration.predictive,
    }
    return {name: value for name, value in named.items() if value is not None}


def calibration_figures(stem: str, calibration: Calibration, names: Sequence[str]) -> list[Section]:
    """The first posterior, coverage and ranks, in files whose names begin with ``stem``."""
    samples, truth, count = calibration.samples, calibration.truth, len(calibration.truth)
    full = {name: curve for name, curve in calibration.coverages.items() if calibration.counts[name] == count}
    pairs = pair_plot(f"{stem}_pairs.png", {"posterior": samples[0]}, truth=truth[0], labels=names)
    coverage = coverage_curves(f"{stem}_coverage.png", full, count)
    ranks = rank_curves(f"{stem}_ranks.png", calibration.ranks, samples.shape[1], names)
    return [
        Heading("Posterior"),
        Figure(pairs, "Given the first held-out observation, with the true parameters."),
        Figure(coverage, "The band holds the curves of an exact posterior."),
        Figure(ranks, "Ranks of the true parameters."),
    ]


def coverage_curves(path: PathLike, coverage: Mapping[str, ArrayLike], count: int) -> Path:
    """Coverages by nominal level: below the diagonal a posterior is too narrow, above it too wide.

    Args:
      path: the PNG file to write.
      coverage: name -> ``(L,)``, of each parameter at :data:`LEVELS`, from :mod:`scorekit.metrics.calibration`.
      count: number of simulations.
    """
    band, unit = metrics.coverage_band(LEVELS, count, _CONFIDENCE), {"xlim": (0, 1), "ylim": (0, 1)}
    panel = Panel(
        {"": Line([0, 1], [0, 1], style={"color": "0.35", "linestyle": "--", "marker": ""}), **lines(LEVELS, coverage)},
        "nominal coverage",
        "share of simulations in the region",
        "Coverage of credible regions",
        bands={_band_name(count): (LEVELS, band.low, band.high)},
        axes=unit,
    )
    return curves(path, [panel])


def rank_curves(path: PathLike, ranks: np.ndarray, num_samples: int, names: Sequence[str]) -> Path:
    """The distribution function of the ranks minus the uniform one, of up to 10 parameters.

    Of a posterior that is too wide it falls and rises, of one that is too narrow it rises and falls; one bow is a bias.

    Args:
      path: the PNG file to write.
      ranks: ranks ``(N, D)`` from :func:`scorekit.metrics.posterior_ranks`.
      num_samples: number of samples S.
      names: names of the parameters.
    """
    count, total = len(ranks), num_samples + 1
    levels = np.linspace(0.02, 0.98, 49)
    band = metrics.coverage_band(levels, count, _CONFIDENCE)
    thresholds = np.unique(np.round(levels * total))
    differences = {}
    for name, column in zip(names, ranks.T[:_LARGEST], strict=False):
        below = np.mean(column[:, None] < thresholds, axis=0)
        differences[name] = Line(thresholds / total, below - thresholds / total, style={"marker": ""})
    bands = {_band_name(count): (levels, band.low - levels, band.high - levels)}
    title, label = "Ranks of the truth among samples of the posterior", "distribution function − uniform"
    panel = Panel(differences, "rank / (S + 1)", label, title, {"uniform ranks": 0.0}, bands=bands)
    return curves(path, [panel._replace(axes={"xlim": (0, 1)})])


def _band_name(count: int) -> str:
    return f"exact posterior, {_CONFIDENCE:.0%} of {count:,} simulations"

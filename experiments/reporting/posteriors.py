"""Tables and figures of calibrated posteriors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.evaluation.posteriors import LEVELS, Calibration
from experiments.reporting.calibration import coverage_curves, pair_plot, rank_plots
from experiments.reporting.report import Figure, Heading, Section, Table


def calibration_table(found: Calibration) -> Table:
    """Coverage of each curve, with the p-values of the tests that it and the ranks come from an exact posterior."""
    shown = [int(np.abs(LEVELS - level).argmin()) for level in (0.5, 0.9)]
    rows = []
    for name, curve in found.coverages.items():
        coverage = [float(curve[i]) for i in shown]
        p = [found.p_values[name], found.p_values.get(f"ranks of {name}")]
        rows.append([name, found.counts[name], *coverage, *p])
    samples = found.samples.shape[1]
    caption = f"Held-out rows with {samples} samples each. A p-value below 0.05 is rare of an exact posterior."
    return Table(["", "rows", "coverage of 50 %", "of 90 %", "p-value", "p-value of ranks"], rows, caption)


def calibration_values(found: Calibration) -> dict[str, Any]:
    """Every number, as for JSON."""
    values: dict[str, Any] = {"p_values": found.p_values, "levels": LEVELS.tolist()}
    values["coverage"] = {name: curve.tolist() for name, curve in found.coverages.items()}
    return values | facts(found)


def calibration_figures(stem: str, found: Calibration, names: Sequence[str]) -> list[Section]:
    """The first posterior, coverage and ranks, in files whose names begin with ``stem``."""
    samples, number = found.samples.shape[1], len(found.truth)
    curves = {name: curve for name, curve in found.coverages.items() if found.counts[name] == number}
    pairs = pair_plot(f"{stem}_pairs.png", found.samples[0], truth=found.truth[0], labels=names)
    coverage = coverage_curves(f"{stem}_coverage.png", LEVELS, curves, number)
    ranks = rank_plots(f"{stem}_ranks.png", found.ranks, samples, labels=names)
    return [
        Heading("Posterior"),
        Figure(pairs, "Given the first held-out observation, with the true parameters."),
        Figure(coverage, "The band holds the curves of an exact posterior."),
        Figure(ranks, "Ranks of the true parameters."),
    ]


def facts(found: Calibration) -> dict[str, Any]:
    """The figures of the full posterior that were found."""
    log_prob, error = found.log_prob or (None, None)
    named = {
        "log p(theta | x) of held-out rows": log_prob,
        "its standard error": error,
        "accuracy against exact samples (C2ST)": found.accuracy,
        "p-value of new observations": found.predictive,
    }
    return {name: value for name, value in named.items() if value is not None}

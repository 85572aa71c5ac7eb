"""Tables of an evaluation: of a model, of a classifier, of an autoencoder."""

import math
from collections.abc import Mapping
from typing import Any

from experiments.evaluation.ema_sweep import EmaSweep
from experiments.evaluation.exact import ByMap, ExactBits
from experiments.evaluation.fid import InceptionMetrics
from experiments.evaluation.quantisation import Quantisation
from experiments.evaluation.run_metrics import Bound, Evaluation
from experiments.evaluation.sequence_metrics import SequenceEvaluation
from experiments.models.classifier import Curve
from experiments.reporting.report import Table


def evaluation_tables(found: Evaluation) -> list[Table]:
    """Metrics of samples, also by features of a network, the likelihoods, and the quantisation of codes."""
    tables = [metrics_table(found.rows, found.caption)] if found.rows else []
    tables += inception_tables(found.inception) if found.inception else []
    tables += [exact_table(found.exact)] if found.exact else []
    tables += [by_map_table(found.exact.by_map)] if found.exact and found.exact.by_map else []
    tables += [bound_table(found.bound)] if found.bound else []
    return tables + (quantisation_tables(found.quantisation) if found.quantisation else [])


def metrics_table(rows: dict[str, dict[str, Any]], caption: str) -> Table:
    """A column for every metric of any row."""
    columns = list(dict.fromkeys(name for metrics in rows.values() for name in metrics))
    return Table(["", *columns], [[row, *(metrics.get(c) for c in columns)] for row, metrics in rows.items()], caption)


def inception_tables(found: InceptionMetrics) -> list[Table]:
    """Metrics of features of a network, and the settings that must agree for comparing them with others."""
    provenance = Table(list(found.provenance), [list(found.provenance.values())])
    return [metrics_table(found.rows, found.caption), provenance]


def ema_sweep_table(sweep: EmaSweep, caption: str) -> Table:
    """A row for every relative width and guidance scale."""
    rows: dict[str, dict[str, Any]] = {}
    for width in sweep.rows:
        bound = {"bits/dim": sweep.bits[width]} if width in sweep.bits else {}
        for scale, metrics in (sweep.rows[width] or {"": {}}).items():
            rows[f"{width:g}, {scale}" if scale else f"{width:g}"] = {**metrics, **bound}
    about = f"By the relative width of the average of the parameters, from the snapshots up to step {sweep.step:,}."
    return metrics_table(rows, f"{about} {caption}".strip())


def bound_table(bound: Bound) -> Table:
    """The variational bound, its terms and its dequantisation."""
    kind = "none: a bound on the probability of the integers" if bound.bins else "none: a bound on a density"
    cells: list[tuple[str, Any]] = [("bits/dim", bound.total)]
    if bound.exact is not None:
        cells.append(("exact", bound.exact))
    cells += [
        ("standard error", bound.error),
        ("prior", bound.prior),
        ("reconstruction", bound.reconstruction),
        ("diffusion", bound.diffusion),
        ("dequantisation", kind),
    ]
    caption = (
        f"Monte-Carlo variational bound on {bound.examples} test examples given their conditions, "
        f"{bound.times} noise levels each, t from {bound.t_min:.3g} to {bound.t_max:g}."
    )
    header, row = zip(*cells, strict=True)
    return Table(header, [row], caption)


def exact_table(found: ExactBits) -> Table:
    """The exact likelihood and its dequantisation."""
    kind = {"uniform": "uniform: a bound on the probability of the integers", "none": "none: a density"}
    caption = (
        f"Exact likelihood by the probability-flow ODE on {found.examples} test examples given their conditions, with "
        f"the offset of the scale of the data; divergence: {found.divergence}; {found.nfe} evaluations, "
        f"t from {found.t_min:.3g} to {found.t_max:g}."
    )
    header = ["bits/dim", "standard error", "offset", "dequantisation"]
    return Table(header, [[found.total, found.error, found.offset, kind[found.dequantisation]]], caption)


def by_map_table(found: ByMap) -> Table:
    """Bits per dimension by the jumps of a flow map."""
    caption = (
        "Likelihood by the flow map and its divergence head, one evaluation for each jump, with the dequantisation of "
        f"the exact likelihood; difference and rank correlation: of the bits of an example from the exact ones. A jump "
        f"to noise and back changes a value by {found.inversion:.3g} (root mean square)."
    )
    return metrics_table(found.rows, caption)


def quantisation_tables(found: Quantisation) -> list[Table]:
    """Accuracy by noise level, and the margin of samples."""
    by_noise = Table(
        ["log-SNR", "denoised once", "noisy"],
        found.accuracy,
        f"Share of the code vectors of {found.test_examples} test examples that are quantised to their own code, by "
        f"noise level (log-SNR in nats), given their conditions: denoised once, and only rescaled.",
    )
    margin = Table(
        list(found.margin),
        [list(found.margin.values())],
        f"{found.samples} samples before quantisation: their distance to the nearest code over that between codes, "
        "and the share of vectors within half the distance to its nearest neighbour.",
    )
    return [by_noise, margin]


def sequence_tables(found: SequenceEvaluation) -> list[Table]:
    """Bits per symbol with the time of sampling, and the metrics of samples."""
    bits = found.bits
    kind = "exact" if bits.kind == "exact" else "an upper bound (variational)"
    caption = (
        f"Of {bits.examples} test examples given their classes, each of {bits.symbols} symbols of {bits.codes} codes: "
        f"{kind}. Seconds: of a batch of {found.batch}, compiled before."
    )
    header = ["bits per symbol", "standard error", "bits per sequence", "seconds per sample"]
    row = [bits.total, bits.error, bits.total * bits.symbols, found.seconds]
    samples = [metrics_table(found.rows, found.caption)] if found.rows else []
    return [Table(header, [row], caption), *samples]


def classifier_table(curves: Mapping[str, Curve], draws: int) -> Table:
    """Accuracy and cross-entropy by noise level, a column for each classifier."""
    first = next(iter(curves.values()))
    header = ["log-SNR", "σ / α", *(f"accuracy, {n}" for n in curves), *(f"cross-entropy, {n}" for n in curves)]
    rows = []
    for i, level in enumerate(first.log_snr):
        noise = [float(level), math.exp(-level / 2)] if math.isfinite(level) else ["no noise", 0.0]
        accuracies = [float(c.accuracy[i]) for c in curves.values()]
        rows.append([*noise, *accuracies, *(float(c.cross_entropy[i]) for c in curves.values())])
    caption = (
        f"By the data that a classifier was trained on, noisy or clean. On the held-out test set, {draws} draws of the "
        "noise; cross-entropy in nats."
    )
    return Table(header, rows, caption)


def reconstruction_table(metrics: Mapping[str, Mapping[str, float]]) -> Table:
    """Distances of reconstructions, by the part of the data."""
    names = list(next(iter(metrics.values())))
    rows = [[name, *(found[name] for found in metrics.values())] for name in names]
    return Table(["", *metrics], rows, "Means over examples. Root mean square errors in units of the network's input.")

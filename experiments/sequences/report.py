"""Tables and reports of models of sequences."""

import time
from pathlib import Path
from typing import NamedTuple

import jax

from experiments.cli import progress
from experiments.cli.config import Config
from experiments.data.symbols import Symbols
from experiments.evaluation.sequence_metrics import SequenceEvaluation
from experiments.reporting.pictures import training_sections
from experiments.reporting.report import ConfigSection, Figure, Heading, Section, Table, tables_as_text, write_report
from experiments.reporting.tables import metrics_table
from scorekit.typing import PyTree


class Trained(NamedTuple):
    """What a finished training says: its report, and its tables as text."""

    report: Path
    text: str


def tables(found: SequenceEvaluation) -> list[Table]:
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


def write_training_report(
    config: Config,
    workdir: Path,
    dataset: Symbols,
    found: SequenceEvaluation,
    picture: tuple[Path, str],
    sounds: list[Section],
    params: PyTree,
    start: float,
) -> Trained:
    """Writes ``report.html`` of a run that has been trained and evaluated."""
    device = jax.devices()[0]
    facts = {
        "data": dataset.name,
        "model": config.model,
        "device": f"{jax.device_count()} × {device.platform} {device.device_kind}".strip(),
        "network": f"{progress.human(sum(x.size for x in jax.tree.leaves(params)))} parameters",
        "steps": config.training.steps,
        "bits per symbol": found.bits.total,
        "time": progress.duration(time.monotonic() - start),
    }
    sections: list[Section] = [
        Heading("Samples"),
        Figure(*picture),
        *sounds,
        Heading("Evaluation"),
        *tables(found),
        *training_sections(workdir, "Nats per symbol as logged and its running mean."),
        ConfigSection((workdir / "config.json").read_text()),
    ]
    report = write_report(workdir / "report.html", f"scorekit: {dataset.name}, sequences", facts, sections)
    return Trained(report, tables_as_text(tables(found)))

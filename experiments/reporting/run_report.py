"""``report.html`` of a run that has been trained and evaluated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.data.dataset import Dataset
from experiments.evaluation.run_metrics import Evaluation
from experiments.reporting.pictures import loss_picture, training_sections
from experiments.reporting.report import ConfigSection, Figure, Heading, Section, Text, credits, write_report
from experiments.reporting.tables import evaluation_tables


def write_run_report(
    workdir: Path, dataset: Dataset, found: Evaluation, pictures: list[Section], facts: Mapping[str, object]
) -> Path:
    """Writes the report from the pictures, the evaluation, the metrics on disk and the config."""
    device = jax.devices()[0]
    values = found.values()
    summary: dict[str, Any] = {
        "data": dataset.name,
        "device": f"{jax.device_count()} × {device.platform} {device.device_kind}".strip(),
        **facts,
        **{name.replace("/", ", "): value for name, value in values.items() if "accuracy" in name},
        **({"bits/dim": found.bound.total} if found.bound else {}),
    }
    sections: list[Section] = [
        *pictures,
        Heading("Evaluation"),
        *evaluation_tables(found),
        *training_sections(workdir),
        Figure(loss_picture(workdir / "loss_by_noise_level.png", found), "Left: noise. Right: data."),
        Text(f"All of it is in {workdir} as PNG, WAV, JSON and TensorBoard files."),
        *credits(dataset.credit),
        ConfigSection((workdir / "config.json").read_text()),
    ]
    return write_report(workdir / "report.html", f"scorekit: {dataset.name}", summary, sections)

"""The findings of an evaluation, and ``report.html`` of a run that has been trained and evaluated."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.cli import progress
from experiments.cli.config import Config
from experiments.models.runs import Run, facts
from experiments.reporting.pictures import training_sections
from experiments.reporting.report import ConfigSection, Heading, Section, Table, Text, credits, write_report
from scorekit.io import as_path


class Findings(NamedTuple):
    """The results of an evaluation.

    Attributes:
      values: every number, as for JSON.
      tables: tables of the report and the terminal.
      facts: summary at the top of the report.
      pictures: sections in front of the tables, with headings.
      figures: sections behind the training curve, likewise.
      further: sections between both, likewise.
      heading: heading of the tables.
      title: the kind of model, nothing for a diffusion.
      loss: caption of the training curve.
    """

    values: Mapping[str, Any]
    tables: list[Table]
    facts: Mapping[str, Any] = {}
    pictures: Sequence[Section] = ()
    figures: Sequence[Section] = ()
    further: Sequence[Section] = ()
    heading: str = "Evaluation"
    title: str = ""
    loss: str = "The loss as logged and its running mean."

    def sections(self) -> list[Section]:
        """Pictures, tables and what follows them."""
        return [*self.pictures, *([Heading(self.heading)] if self.tables else []), *self.tables, *self.further]


def write_run_report(config: Config, workdir: Path, run: Run, found: Findings, trained: float) -> Path:
    """Writes the report of a training of so many seconds, from the findings, the metrics on disk and the config."""
    device = jax.devices()[0]
    summary: dict[str, Any] = {
        "data": run.dataset.summary(),
        "device": f"{jax.device_count()} × {device.platform} {device.device_kind}".strip(),
        "network": f"{progress.human(sum(x.size for x in jax.tree.leaves(run.params)))} parameters",
        "steps": config.training.steps,
        "seed": config.seed,
        "training time": progress.duration(trained),
        **found.facts,
    }
    sections: list[Section] = [
        *found.sections(),
        *training_sections(workdir, found.loss),
        *found.figures,
        Text(f"All of it is in {workdir} as PNG, WAV, JSON and TensorBoard files."),
        *credits(run.dataset.credit),
        ConfigSection((workdir / "config.json").read_text()),
    ]
    title = ", ".join(filter(None, (f"scorekit: {run.dataset.name}", found.title)))
    return write_report(workdir / "report.html", title, summary, sections)


def write_evaluation_report(stem: str, run: Run, found: Findings, config_text: str) -> Path:
    """Writes ``<stem>.html`` of a run that was evaluated again."""
    sections = [*found.sections(), *found.figures, ConfigSection(config_text)]
    title = f"scorekit: {run.dataset.name}, evaluation"
    summary = {**facts(run), "seed": json.loads(config_text)["seed"], **found.facts}
    return write_report(as_path(f"{stem}.html"), title, summary, sections)

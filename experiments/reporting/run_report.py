"""The findings of an evaluation, and ``report.html`` of a run that has been trained and evaluated."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.cli import progress
from experiments.data.dataset import Dataset
from experiments.reporting.curves import Line, Panel, curves, scale
from experiments.reporting.png import COLOURS
from experiments.reporting.report import ConfigSection, Figure, Heading, Section, Text, credits, write_report
from experiments.reporting.tables import Table
from experiments.training.writers import read_metrics
from scorekit.io import as_path
from scorekit.typing import PyTree

_WINDOW = 5
"""Points that the running mean of the loss covers."""


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


def write_run_report(workdir: Path, dataset: Dataset, params: PyTree, findings: Findings, trained: float) -> Path:
    """Writes the report of a training of so many seconds, from the findings, the metrics on disk and the config."""
    device, text = jax.devices()[0], (workdir / "config.json").read_text()
    config = json.loads(text)
    summary: dict[str, Any] = {
        "data": dataset.summary(),
        "device": f"{jax.device_count()} × {device.platform} {device.device_kind}".strip(),
        "network": f"{progress.human(sum(x.size for x in jax.tree.leaves(params)))} parameters",
        "steps": config["training"]["steps"],
        "seed": config["seed"],
        "training time": progress.duration(trained),
        **findings.facts,
    }
    sections: list[Section] = [
        *findings.sections(),
        *training_sections(workdir, findings.loss),
        *findings.figures,
        Text(f"All of it is in {workdir} as PNG, WAV, JSON and TensorBoard files."),
        *credits(dataset.credit),
        ConfigSection(text),
    ]
    title = ", ".join(filter(None, (f"scorekit: {dataset.name}", findings.title)))
    return write_report(workdir / "report.html", title, summary, sections)


def write_evaluation_report(stem: str, dataset: Dataset, step: int, findings: Findings, config_text: str) -> Path:
    """Writes ``<stem>.html`` of a run that was evaluated again."""
    sections = [*findings.sections(), *findings.figures, ConfigSection(config_text)]
    title = f"scorekit: {dataset.name}, evaluation"
    summary = {"data": dataset.name, "checkpoint": f"step {step:,}", "seed": json.loads(config_text)["seed"]}
    return write_report(as_path(f"{stem}.html"), title, {**summary, **findings.facts}, sections)


def training_sections(workdir: Path, caption: str) -> list[Section]:
    """The loss as logged (thin) and its running mean (thick), from the metrics on disk; only a heading without them."""
    path = workdir / "metrics.jsonl"
    rows = read_metrics(path) if path.exists() else []  # a run of less than training.log_every steps has none
    points = lambda name: np.array([(row["step"], row[name]) for row in rows if name in row]).reshape(-1, 2).T
    (steps, loss), held_out = points("train/loss"), points("held_out/loss")
    if not len(loss):
        return [Heading("Training")]
    finite = np.isfinite(loss)
    bad, steps, loss = int(np.sum(~finite)), steps[finite], loss[finite]
    total, middle = np.concatenate([[0.0], np.cumsum(loss)]), np.arange(len(loss))
    first, last = np.maximum(middle - _WINDOW // 2, 0), np.minimum(middle + _WINDOW // 2 + 1, len(loss))
    thin = {"color": COLOURS[0], "alpha": 0.3, "linewidth": 0.8, "marker": ""}
    losses = {
        f"as logged ({bad} not finite)" if bad else "as logged": Line(steps, loss, style=thin),
        f"mean of {_WINDOW} points": Line(steps, (total[last] - total[first]) / (last - first), style={"marker": ""}),
        **({"held out": Line(held_out[0], held_out[1])} if held_out.size else {}),
    }
    figure = curves(workdir / "training.png", [Panel(losses, "step", "loss", "Training", axes={"yscale": scale(loss)})])
    return [Heading("Training"), Figure(figure, caption)]

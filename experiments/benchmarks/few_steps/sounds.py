"""Comparisons of sounds that a stopped program goes on with: kept rows, their sounds, and a report that plays them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli.config import Config
from experiments.configs import base
from experiments.evaluation.kept_rows import KeptRows, check_names, overridden
from experiments.models import run_files
from experiments.models.runs import Run, facts, write_arrays
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, tables_as_text, write_report
from experiments.reporting.tables import metrics_table


def check_students(
    workdir: str, config: Config, students: Sequence[str], fields: Sequence[str], check: Callable[[Config, str], Path]
) -> None:
    """Validates that the runs ``students`` have the data of ``workdir``, whose config is given, and different names.

    The ``fields`` of ``config.data`` must be equal; ``check`` validates one run and returns its folder.
    """
    configs = {folder: base.saved(folder) for folder in students}
    paths = [check(config, workdir), *(check(its, folder) for folder, its in configs.items())]
    check_names("--workdir and --students", paths)
    for folder, its in configs.items():
        run_files.check_same_data(its, config, f"--students={folder}", workdir, fields)


class Comparison:
    """Rows of metrics in ``workdir/few_steps/rows.json`` and their sounds in the ``rows`` folder next to it.

    Args:
      workdir: folder of the teacher's run.
      config: its config, with the overrides of this command.
      settings: further settings that all rows must have.
    """

    def __init__(self, workdir: Path, config: Config, settings: Mapping[str, Any]):
        self._out, self.sounds = workdir / "few_steps", {}
        changed = overridden(config, base.saved(str(workdir)))
        self._kept = KeptRows(self._out / "rows.json", {**settings, "config": changed})

    def add(
        self, name: str, compute: Callable[[], tuple[dict[str, Any], np.ndarray]], path: Path | None, shown: Any = ...
    ) -> None:
        """The row of this name, from the file or from ``compute() -> (row, sounds)``; ``shown`` are played."""
        file = self._out / "rows" / f"{name.replace(', ', '_').replace(' ', '_')}.npz"

        def row() -> dict[str, Any]:
            found, x = compute()
            write_arrays(file, x=x)
            return found

        self._kept.row(name, row, path)
        self.sounds[name] = np.load(file)["x"][shown]

    def rows(self) -> dict[str, dict[str, Any]]:
        """All rows so far."""
        return self._kept.rows()

    def report(
        self, title: str, run: Run, rows: dict[str, dict[str, Any]], caption: str, rate: int, labels: Sequence[str]
    ) -> Path:
        """Prints the table of ``rows`` and writes it as a report with the sounds, one label for each of them."""
        table = metrics_table(rows, caption)
        print(tables_as_text([table]))
        sounds = {name: x for name, x in self.sounds.items() if name in rows or name not in self.rows()}
        widgets = audio_widgets(self._out / "sounds", sounds, rate, row_labels=labels)
        sections = [table, Heading("Sounds"), widgets]
        return write_report(self._out / "report.html", f"scorekit: {title}", facts(run), sections)

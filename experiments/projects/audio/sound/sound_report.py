"""The report of a program that makes sounds: tables, the sounds, and further sections."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.typing import ArrayLike

from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, Section, write_report
from experiments.reporting.tables import Cell, Table, tables_as_text


def write_sound_report(
    path: Path,
    title: str,
    summary: Mapping[str, Cell],
    tables: Sequence[Table],
    sounds: Mapping[str, ArrayLike],
    sample_rate: int,
    *,
    folder: Path | None = None,
    row_labels: Sequence[object] | None = None,
    further: Sequence[Section] = (),
) -> Path:
    """Writes a report of tables, sounds and ``further`` sections; prints the tables.

    Sounds are written into ``folder``, by default next to the report; see :func:`audio_widgets` for the rest.
    """
    widgets = audio_widgets(folder or path.parent, sounds, sample_rate, row_labels=row_labels)
    for table in tables:
        print(f"{tables_as_text([table])}({table.caption})")
    return write_report(path, title, summary, [*tables, Heading("Sounds"), widgets, *further])

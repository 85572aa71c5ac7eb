"""Opening runs of experiments.train on sounds, and the report of a program that makes sounds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from numpy.typing import ArrayLike

from experiments import data
from experiments.cli.config import Config, ConfigError
from experiments.cli.flags import check_writable
from experiments.data.sounds import Sounds
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, Section, write_report
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.diffusion.runs import check_no_latents, open_run
from experiments.tasks.flows import task as flows


def check_kind(kind: type[Sounds], config: Config, workdir: str | Path | None) -> Path:
    """The folder of a run on this kind of data; nothing is loaded."""
    path = Path(str(workdir)).expanduser().absolute()
    if not issubclass(cast(type, data.KINDS[config.data.name]), kind):
        name = kind.__name__.lower()
        raise ConfigError(f"--workdir={path}: must hold a run on {name}, and its data are {config.data.name}")
    return path


def check_results(kind: type[Sounds], config: Config, workdir: str | Path | None) -> Path:
    """The folder of a run on this kind of data, into which results can be written; nothing is loaded."""
    path = check_kind(kind, config, workdir)
    check_writable(path, f"--workdir={path}")
    return path


def open_sounds(config: Config, workdir: Path, step: int | None, scales: Sequence[float] | None = None) -> Any:
    """The run in ``workdir``, of a diffusion or a flow."""
    if config.task == "flow":
        return flows.open_run(config, workdir, step)
    check_no_latents(config, f"--workdir={workdir}")
    return open_run(config, workdir, step, scales)


def write_sound_report(
    path: Path,
    title: str,
    summary: Mapping[str, Cell],
    tables: Sequence[Table],
    sounds: Mapping[str, ArrayLike],
    sample_rate: int,
    *,
    row_labels: Sequence[object] | None = None,
    further: Sequence[Section] = (),
) -> Path:
    """Writes a report of tables, sounds and ``further`` sections, and the sounds next to it; prints the tables."""
    widgets = audio_widgets(path.parent, sounds, sample_rate, row_labels=row_labels)
    for table in tables:
        print(f"{tables_as_text([table])}({table.caption})")
    return write_report(path, title, summary, [*tables, Heading("Sounds"), widgets, *further])

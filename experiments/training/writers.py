"""Metrics on disk: ``metrics.jsonl`` for programs and TensorBoard events for people.

One line of ``metrics.jsonl`` is one JSON object: ``step``, ``time`` (seconds since 1970), then the metrics by name.
A number that JSON lacks is the string ``"nan"``, ``"inf"`` or ``"-inf"``; :func:`read_metrics` gives floats back.

A run that resumes at step k drops the lines after step k, so that its file ends up equal, except for times and speeds,
to the file of a run that was never stopped. For that, write the line of step k before saving the checkpoint of step k.
"""

import contextlib
import io
import json
import math
import numbers
import os
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from scorekit.io import as_path, in_bucket, write_atomic

_NOT_IN_JSON = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class MetricWriter:
    """Writes scalars and pictures to ``workdir/metrics.jsonl`` and ``workdir/tensorboard/``.

    Args:
      workdir: the folder of the run; made if missing.
      resume_step: the step that the run continues from; lines of later steps, and a last line that was cut short,
        are dropped. ``None`` starts afresh: nothing written before is kept.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with MetricWriter(folder) as writer:
    ...         writer.scalars(10, {"train/loss": 0.5})
    ...     [(row["step"], row["train/loss"]) for row in read_metrics(f"{folder}/metrics.jsonl")]
    [(10, 0.5)]
    """

    def __init__(self, workdir: str | os.PathLike[str], *, resume_step: int | None = None):
        self.path = as_path(workdir) / "metrics.jsonl"
        rows = _rows(self.path) if resume_step is not None and self.path.exists() else []
        kept = [row for row in rows if row["step"] <= (resume_step or 0)]
        self._text = "".join(json.dumps(row) + "\n" for row in kept)
        write_atomic(self.path, self._text)
        self._board = _Board(self.path.parent / "tensorboard", first_step=0 if resume_step is None else resume_step + 1)

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes one line of numbers or arrays of one number; ``step`` and ``time`` are taken names."""
        for name in ("step", "time"):
            if name in values:
                raise ValueError(f"values must not use the name {name!r}")
        plain = {name: _number(name, value) for name, value in values.items()}
        row = {"step": int(step), "time": round(time.time(), 3)}
        row.update({name: x if math.isfinite(x) else str(x) for name, x in plain.items()})
        with _naming(self.path):
            self._append(json.dumps(row, allow_nan=False) + "\n")
        self._board.scalars(step, plain)

    def _append(self, line: str) -> None:
        if in_bucket(self.path):  # where nothing can be appended: each line writes all of them
            self._text += line
            self.path.write_text(self._text)
        else:
            with self.path.open("a") as file:
                file.write(line)

    def picture(self, step: int, name: str, png: str | os.PathLike[str]) -> None:
        """Shows a PNG file in TensorBoard."""
        self._board.png(step, name, png)

    def close(self) -> None:
        """Writes everything out; the writer is of no use afterwards."""
        self._board.close()

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def show_pictures(workdir: str | os.PathLike[str], step: int, paths: Iterable[str | os.PathLike[str]]) -> None:
    """Shows PNG files in TensorBoard as pictures of a finished run, by the names of the files."""
    with contextlib.closing(_Board(as_path(workdir) / "tensorboard", first_step=step + 1)) as board:
        for path in map(as_path, paths):
            board.png(step, path.stem, path)


class _Board:
    """TensorBoard events, written by the calling thread: a full disk raises instead of ending a thread silently."""

    def __init__(self, folder: Path, first_step: int):
        from tensorboardX.event_file_writer import EventsWriter  # late: readers of metrics.jsonl do not need it
        from tensorboardX.proto.event_pb2 import SessionLog  # type: ignore[attr-defined]

        self._folder, self._flushed, self._local = folder, 0.0, None
        if in_bucket(folder):  # where nothing can be appended
            self._local = tempfile.TemporaryDirectory(prefix="scorekit-")
        else:
            folder.mkdir(parents=True, exist_ok=True)
        # a resume within the same second gets its own file
        name = Path(folder if self._local is None else self._local.name) / "events"
        self._writer = EventsWriter(str(name), f".{time.time_ns()}")
        self._write(first_step, session_log=SessionLog(status=SessionLog.START))  # drops earlier events of later steps

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]

        now = time.time()
        with _naming(self._folder):
            self._writer.write_event(Event(wall_time=now, step=step, **content))
            if now - self._flushed > 10:
                self._writer.flush()
                self._copy()
                self._flushed = now

    def _copy(self) -> None:
        """Copies the events to the bucket, if they belong there."""
        if self._local is not None:
            for path in Path(self._local.name).iterdir():
                (self._folder / path.name).write_bytes(path.read_bytes())

    def scalars(self, step: int, values: Mapping[str, int | float]) -> None:
        from tensorboardX.summary import scalar

        for name, x in values.items():
            self._write(step, summary=scalar(name, x))

    def png(self, step: int, name: str, path: str | os.PathLike[str]) -> None:
        from tensorboardX import summary

        image = imread(io.BytesIO(as_path(path).read_bytes()))[..., :3]
        self._write(step, summary=summary.image(name, image, dataformats="HWC"))

    def close(self) -> None:
        with _naming(self._folder):
            self._writer.close()
            self._copy()
        if self._local is not None:
            self._local.cleanup()


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of writing name the path, which errors of an open file do not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``, oldest first; see :func:`_rows`."""
    rows = _rows(as_path(path))
    return [{name: _NOT_IN_JSON.get(x, x) if isinstance(x, str) else x for name, x in row.items()} for row in rows]


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows as they stand in the file, without a last line that was cut short and, with a warning, damaged lines."""
    *lines, _ = path.read_bytes().split(b"\n")  # what follows the last newline was cut short, or is empty
    rows, damaged = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict) and type(row.get("step")) is int:
            rows.append(row)
        else:
            damaged.append(str(number))
    if damaged:
        warnings.warn(f"{path}: damaged lines are left out: {', '.join(damaged)}", stacklevel=3)
    return rows


def _number(name: str, value: Any) -> int | float:
    if np.size(value) != 1 or not np.issubdtype((array := np.asarray(value)).dtype, np.number):
        raise ValueError(f"{name} must be one number, got {value!r}")
    number = array.item()
    return int(number) if isinstance(number, numbers.Integral) else float(number)

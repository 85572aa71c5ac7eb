"""Transcriptions in reports: the metrics with standard errors, and sounds alongside their piano rolls."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.data.dataset import evenly, rows_of
from experiments.data.phrases import Phrases
from experiments.evaluation.note_metrics import METRICS, TOLERANCE, mean_and_error
from experiments.evaluation.transcription import Measured
from experiments.reporting.audio_widgets import write_sound
from experiments.reporting.piano_rolls import roll_picture
from experiments.reporting.report import Cell, Sound, Sounds, Table
from scorekit.data.phrases import FRAME_RATE


def transcription_table(parts: Mapping[str, Measured]) -> Table:
    """A row for each set of transcriptions: means over phrases, each with its standard error."""
    lines: list[list[Cell]] = []
    for name, part in parts.items():
        lines.append([name, *(_with_error(*each) for each in mean_and_error(part.rows).values())])
    num = len(next(iter(parts.values())).rows)
    over = f"means over {num} phrases and their standard errors" if num > 1 else "one phrase"
    caption = (
        f"{over}, by mir_eval: active keys of frames of {1000 / FRAME_RATE:g} ms; onsets within "
        f"{1000 * TOLERANCE:g} ms, ends within a fifth of the note or 50 ms"
    )
    return Table(["", *METRICS], lines, caption)


def _with_error(mean: float, error: float | None) -> str:
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"


def transcription_values(parts: Mapping[str, Measured]) -> dict[str, dict[str, dict[str, float | None]]]:
    """The same in numbers: the mean and the standard error of every metric."""
    return {
        name: {metric: {"mean": mean, "error": error} for metric, (mean, error) in mean_and_error(part.rows).items()}
        for name, part in parts.items()
    }


def transcription_widgets(folder: Path, dataset: Phrases, part: Measured, shown: int) -> Sounds:
    """Held-out phrases with their transcriptions over the notes that were played; written into ``folder``."""
    rows = evenly(len(part.rows), shown)
    sounds = dataset.real(rows_of(dataset.test, rows))
    seconds, found = sounds.shape[1] / dataset.sample_rate, []
    for i, x in zip(rows, sounds, strict=True):
        sound = write_sound(folder / str(i), np.asarray(x), dataset.sample_rate)
        picture = roll_picture(folder / f"{i}_roll.png", part.found[i], seconds, reference=part.played[i])
        found.append((f"phrase {i}", [sound, Sound(sound.wav, picture)]))
    return Sounds(("sound", "transcribed"), found, "Notes that were found, and the outlines of those that were played.")

"""Transcriptions in reports: the metrics with standard errors, and sounds alongside their piano rolls."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.projects.audio.piano_rolls import ROLL, roll
from experiments.projects.audio.transcription.note_metrics import TOLERANCE, mean_and_error
from experiments.projects.audio.transcription.transcription import Measured
from experiments.reporting.audio_widgets import write_sound
from experiments.reporting.grids import grid
from experiments.reporting.report import Sound, Sounds
from experiments.reporting.tables import Table
from scorekit.data.phrases import FRAME_RATE, Note


def transcription_table(parts: Mapping[str, Measured]) -> tuple[Table, dict[str, dict]]:
    """A row for each set of transcriptions of the same phrases, with standard errors; and the same in numbers."""
    means = {name: mean_and_error(part.rows) for name, part in parts.items()}
    num = len(next(iter(parts.values())).rows)
    text = lambda mean, error: f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"
    rows = [[name, *(text(*each) for each in part.values())] for name, part in means.items()]
    over = f"means over {num} phrases and their standard errors" if num > 1 else "one phrase"
    caption = (
        f"{over}, by mir_eval: active keys of frames of {1000 / FRAME_RATE:g} ms; onsets within "
        f"{1000 * TOLERANCE:g} ms, ends within a fifth of the note or 50 ms"
    )
    as_dict = lambda part: {metric: {"mean": mean, "error": error} for metric, (mean, error) in part.items()}
    table = Table(["", *next(iter(means.values()))], rows, caption)
    return table, {name: as_dict(part) for name, part in means.items()}


def transcribed_widget(
    stem: Path, x: np.ndarray, sample_rate: int, notes: Sequence[Note], played: Sequence[Note] | None = None
) -> list[Sound]:
    """A sound ``(length,)``, and the same over the notes that were found; files whose names begin with ``stem``."""
    sound = write_sound(stem, x, sample_rate)
    picture = grid(f"{stem}_roll.png", [[roll(notes, x.shape[-1] / sample_rate, played)]], size=ROLL)
    return [sound, Sound(sound.wav, picture)]


def transcription_widgets(
    folder: Path,
    versions: Mapping[str, np.ndarray],
    parts: Mapping[str, Measured],
    sample_rate: int,
    rows: Iterable[int],
) -> Sounds:
    """Some phrases ``(N, L)`` in several versions, each with its transcription over the notes that were played."""
    cells = lambda i: [
        cell
        for name, sounds in versions.items()
        for cell in transcribed_widget(
            folder / f"{i}_{name}", sounds[i], sample_rate, parts[name].found[i], parts[name].played[i]
        )
    ]
    header = [cell for name in versions for cell in (name, f"{name}, transcribed")]
    about = "Notes that were found, and the outlines of those that were played."
    return Sounds(header, [(f"phrase {i}", cells(i)) for i in rows], about)

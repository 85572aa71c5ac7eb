"""Transcriptions in reports: the metrics with standard errors, and sounds alongside their piano rolls."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.reporting.audio_widgets import write_sound
from experiments.reporting.grids import ROLL, grid, roll
from experiments.reporting.report import Sound, Sounds
from experiments.reporting.tables import Table
from scorekit.data.phrases import FRAME_RATE, Note

Means = Mapping[str, tuple[float, float | None]]
"""Metric -> its mean over phrases and the standard error, None for one phrase."""


def transcription_table(parts: Mapping[str, Means], num: int, tolerance: float) -> Table:
    """A row for each set of transcriptions of ``num`` phrases; ``tolerance`` of onsets, in seconds."""
    text = lambda mean, error: f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"
    rows = [[name, *(text(*each) for each in part.values())] for name, part in parts.items()]
    over = f"means over {num} phrases and their standard errors" if num > 1 else "one phrase"
    caption = (
        f"{over}, by mir_eval: active keys of frames of {1000 / FRAME_RATE:g} ms; onsets within "
        f"{1000 * tolerance:g} ms, ends within a fifth of the note or 50 ms"
    )
    return Table(["", *next(iter(parts.values()))], rows, caption)


def transcription_values(parts: Mapping[str, Means]) -> dict[str, dict[str, dict[str, float | None]]]:
    """The same in numbers, as for JSON."""
    as_dict = lambda part: {metric: {"mean": mean, "error": error} for metric, (mean, error) in part.items()}
    return {name: as_dict(part) for name, part in parts.items()}


def transcribed_widget(
    stem: Path, x: np.ndarray, sample_rate: int, notes: Sequence[Note], played: Sequence[Note] | None = None
) -> list[Sound]:
    """A sound ``(length,)``, and the same over the notes that were found; files whose names begin with ``stem``."""
    sound = write_sound(stem, x, sample_rate)
    picture = grid(f"{stem}_roll.png", [[roll(notes, x.shape[-1] / sample_rate, played)]], size=ROLL)
    return [sound, Sound(sound.wav, picture)]


def transcription_widgets(
    folder: Path, sounds: Mapping[int, np.ndarray], sample_rate: int, transcribed: Sequence, played: Sequence
) -> Sounds:
    """Phrases by their row with their transcriptions over the notes that were played; written into ``folder``."""
    rows = [
        (f"phrase {i}", transcribed_widget(folder / str(i), x, sample_rate, transcribed[i], played[i]))
        for i, x in sounds.items()
    ]
    return Sounds(("sound", "transcribed"), rows, "Notes that were found, and the outlines of those that were played.")

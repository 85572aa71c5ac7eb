"""Transcriptions in reports: the metrics with standard errors, and sounds alongside their piano rolls."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from experiments.projects.audio.piano_rolls import ROLL, roll
from experiments.projects.audio.transcription.note_metrics import TOLERANCE, means
from experiments.projects.audio.transcription.transcription import Measured
from experiments.reporting.audio_widgets import write_sound
from experiments.reporting.grids import grid
from experiments.reporting.report import Sound, Sounds
from experiments.reporting.tables import Table
from scorekit.data.phrases import FRAME_RATE


def transcription_table(parts: Mapping[str, Measured]) -> tuple[Table, dict[str, dict]]:
    """A row for each set of transcriptions of the same phrases, with standard errors; and the same in numbers."""
    values = {name: means(part.rows) for name, part in parts.items()}
    num = len(next(iter(parts.values())).rows)
    text = lambda each: f"{each['mean']:.3f} ± {each['error']:.3f}"
    caption = (
        f"means over {num} phrases and their standard errors, by mir_eval: active keys of frames of "
        f"{1000 / FRAME_RATE:g} ms; onsets within {1000 * TOLERANCE:g} ms, ends within a fifth of the note or 50 ms"
    )
    rows = [[name, *map(text, metrics.values())] for name, metrics in values.items()]
    return Table(["", *next(iter(values.values()))], rows, caption), values


def transcription_widgets(
    folder: Path,
    versions: Mapping[str, np.ndarray],
    parts: Mapping[str, Measured],
    sample_rate: int,
    rows: Iterable[int],
) -> Sounds:
    """Some phrases ``(N, L)`` in several versions, each with its transcription over the notes that were played."""

    def cells(i: int) -> list[Sound]:
        both = []
        for name, sounds in versions.items():
            stem, part = folder / f"{i}_{name}", parts[name]
            bars = roll(part.transcribed[i], sounds.shape[1] / sample_rate, part.played[i])
            sound = write_sound(stem, sounds[i], sample_rate)
            both += [sound, Sound(sound.wav, grid(f"{stem}_roll.png", [[bars]], size=ROLL))]
        return both

    header = [cell for name in versions for cell in (name, f"{name}, transcribed")]
    about = "Notes that were found, and the outlines of the notes that were played."
    return Sounds(header, [(f"phrase {i}", cells(i)) for i in rows], about)

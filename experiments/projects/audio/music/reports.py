"""Songs in a report: every version alongside its piano roll."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.data.dataset import evenly
from experiments.projects.audio.music.songs import Song
from experiments.projects.audio.transcription.report import transcribed_widget
from experiments.projects.audio.transcription.transcription import Measured
from experiments.reporting.report import Sounds
from scorekit.data.midi import write_midi, write_score


def circle_widgets(
    folder: Path,
    songs: Sequence[Song],
    versions: Mapping[str, Sequence[np.ndarray]],
    parts: Mapping[str, Measured],
    rate: int,
    shown: int,
) -> Sounds:
    """Songs in several versions, each with what was transcribed over what was played; sounds and MIDI in ``folder``."""
    rows = []
    for i in evenly(len(songs), shown):
        song, cells = songs[i], []
        write_midi(folder / f"{i}.mid", song.roll, program=song.program)
        for name, sounds in versions.items():
            played, found = parts[name].played[i], parts[name].found[i]
            seconds = len(sounds[i]) / rate
            write_score(folder / f"{i}_{name}.mid", found, song.program, max([seconds, *(n.end for n in found)]))
            cells += transcribed_widget(folder / f"{i}_{name}", sounds[i], rate, found, played)
        rows.append((f"{song.name}, program {song.program}", cells))
    header = [cell for name in versions for cell in (name, f"{name}, transcribed")]
    return Sounds(header, rows, "Notes that were found, and the outlines of those that were played.")

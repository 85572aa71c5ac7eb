"""Pictures of piano rolls: a bar for each note, over seconds and the names of pitches."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from experiments.reporting import plots
from scorekit.data.phrases import Note

_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
_NOTES, _REFERENCE = "#2166ac", "#d6604d"
_LEAST_WIDTH = 0.01
"""Seconds of the shortest bar."""


def pitch_name(pitch: int) -> str:
    """The name of a MIDI pitch.

    >>> pitch_name(60), pitch_name(69), pitch_name(37)
    ('C4', 'A4', 'C♯2')
    """
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def roll_picture(
    path: str | os.PathLike[str],
    notes: Sequence[Note],
    seconds: float,
    *,
    reference: Sequence[Note] | None = None,
    names: tuple[str, str] = ("transcribed", "played"),
) -> Path:
    """Notes as bars, darker for higher velocities, and the outlines of the notes of a reference.

    Args:
      notes: may be none, for a picture of silence.
      seconds: the length of the time axis.
      names: names of the notes and the reference, in the legend.
    """
    drawing = Figure(figsize=(min(max(1.2 * seconds, 4.5), 14.0), 3.2), layout="constrained")
    axes = drawing.subplots()
    for note in notes:
        _bar(axes, note, color=_NOTES, alpha=0.3 + 0.7 * note.velocity / 127, linewidth=0)
    for note in reference or ():
        _bar(axes, note, facecolor="none", edgecolor=_REFERENCE, linewidth=0.9)
    pitches = [note.pitch for note in (*notes, *(reference or ()))] or [60]
    low, high = min(pitches) - 2, max(pitches) + 2
    ticks = [p for p in range(low, high + 1) if p % 12 in ((0, 4, 7, 9) if high - low < 20 else (0, 7))]
    axes.set_yticks(ticks, [pitch_name(p) for p in ticks])
    axes.set_ylim(low - 0.5, high + 0.5)
    axes.set_xlim(0, max(seconds, _LEAST_WIDTH))
    axes.set_xlabel("seconds")
    axes.grid(axis="y", linewidth=0.3)
    axes.set_axisbelow(True)
    if reference is not None:
        handles = [Patch(color=_NOTES, label=names[0]), Patch(facecolor="none", edgecolor=_REFERENCE, label=names[1])]
        above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2, "frameon": False}
        axes.legend(handles=handles, fontsize=8, ncols=2, **above)
    return plots.save(drawing, path)


def _bar(axes: Axes, note: Note, **style) -> None:
    width = max(note.end - note.start, _LEAST_WIDTH)
    axes.barh(np.array([note.pitch]), width, left=note.start, height=0.9, **style)

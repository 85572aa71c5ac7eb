"""Piano rolls as cells of a grid of pictures."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from experiments.reporting.grids import Draw
from experiments.reporting.png import COLOURS
from scorekit.data.phrases import Note

_PITCHES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
ROLL = (8.0, 3.2)
"""The size of a piano roll, in inches."""


def roll(
    notes: Sequence[Note],
    seconds: float,
    reference: Sequence[Note] | None = None,
    names: tuple[str, str] = ("transcribed", "played"),
) -> Draw:
    """A piano roll: a bar for each note, darker for higher velocities, and the outlines of a reference.

    Args:
      notes: may be none, for a picture of silence.
      seconds: the length of the time axis.
      names: names of the notes and the reference, in the legend.
    """

    def bars(axes: Axes, played: Sequence[Note], **style) -> None:
        widths = [max(note.end - note.start, 0.01) for note in played]
        axes.barh([note.pitch for note in played], widths, 0.9, [note.start for note in played], **style)

    def draw(axes: Axes) -> None:
        shades = [(*to_rgb(COLOURS[0]), 0.3 + 0.7 * note.velocity / 127) for note in notes]
        bars(axes, notes, color=shades, linewidth=0)
        if reference is not None:
            outlines: dict[str, Any] = {"facecolor": "none", "edgecolor": COLOURS[1], "linewidth": 0.9}
            bars(axes, reference, **outlines)
            axes.barh(0, 0, label=names[0], color=COLOURS[0])  # for the legend
            axes.barh(0, 0, label=names[1], **outlines)
        pitches = [note.pitch for note in (*notes, *(reference or ()))] or [60]
        low, high = min(pitches) - 2, max(pitches) + 2
        ticks = [p for p in range(low, high + 1) if p % 12 in ((0, 4, 7, 9) if high - low < 20 else (0, 7))]
        axes.set_yticks(ticks, [pitch_name(p) for p in ticks])
        axes.set(xlim=(0, max(seconds, 0.01)), ylim=(low - 0.5, high + 0.5), xlabel="seconds")
        axes.grid(axis="y", linewidth=0.3)
        axes.set_axisbelow(True)

    return draw


def pitch_name(pitch: int) -> str:
    """The name of a MIDI pitch.

    >>> pitch_name(60), pitch_name(69), pitch_name(37)
    ('C4', 'A4', 'C♯2')
    """
    return f"{_PITCHES[pitch % 12]}{pitch // 12 - 1}"

"""From predictions for every frame and key to notes, and their comparison with the notes that were played.

The metrics follow mir_eval: a note is found if its onset is within 50 ms and its pitch within a quarter tone; a frame
has the keys that are active in it. An empty result where nothing was played counts as perfect, 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.cli.endings import ProgramError
from scorekit.data.midi import notes_of_roll
from scorekit.data.phrases import FRAME_RATE, Note

TOLERANCE = 0.05
"""Tolerance of onsets, in seconds."""
METRICS = ("frame F1", "onset F1", "onset precision", "onset recall", "onset and end F1")


def mir_eval() -> Any:
    """The package, without which everything but the metrics of transcriptions works."""
    try:
        import mir_eval as found
    except ImportError as error:
        raise ProgramError("metrics of transcriptions need mir_eval: pip install 'scorekit[sound]'") from error
    return found


def decode(
    onset: np.ndarray,
    frame: np.ndarray,
    velocity: np.ndarray,
    lowest: int,
    onset_threshold: float = 0.3,
    frame_threshold: float = 0.5,
    rate: float = FRAME_RATE,
) -> list[Note]:
    """The notes of one sound, as in Onsets and Frames: every note has an onset, and lasts while its key is active.

    Args:
      onset: probabilities of onsets, ``(T, pitches)``.
      frame: probabilities that a key is active, ``(T, pitches)``.
      velocity: velocities of onsets over 127, ``(T, pitches)``.
      lowest: the MIDI pitch of the first key.
      onset_threshold: least probability of an onset, which is also a maximum over two frames to either side.
      frame_threshold: a note ends before the first frame below it, or where its key is struck again.
      rate: frames to a second.

    Returns:
      Notes sorted by onset, then pitch, each of a frame or more.

    >>> onset, frame = np.zeros((6, 1)), np.array([[0.1, 0.9, 0.9, 0.8, 0.2, 0.1]]).T
    >>> onset[1:3, 0] = 0.9, 0.5
    >>> decode(onset, frame, np.full((6, 1), 0.5), 60, rate=10)
    [Note(pitch=60, velocity=64, start=0.1, end=0.4)]
    """
    around = np.pad(onset, [(2, 2), (0, 0)])
    before = np.maximum(around[:-4], around[1:-3])
    after = np.maximum(around[3:-1], around[4:])
    peak = (onset >= onset_threshold) & (onset > before) & (onset >= after)
    notes = []
    for first, key in np.argwhere(peak):
        ends = (frame[first + 1 :, key] < frame_threshold) | peak[first + 1 :, key]
        held = 1 + (int(np.argmax(ends)) if ends.any() else len(ends))
        strength = int(np.clip(round(127 * float(velocity[first, key])), 1, 127))
        notes.append(Note(int(lowest + key), strength, float(first / rate), float((first + held) / rate)))
    return notes


def scores(played: list[Note], found: list[Note], frames: int, rate: float = FRAME_RATE) -> dict[str, float]:
    """The ``METRICS`` of the notes ``found`` in one sound, of ``rate`` frames a second.

    >>> a, b = Note(60, 80, 0.0, 0.5), Note(62, 80, 0.5, 1.0)
    >>> found = scores([a, b], [a], 16, rate=16)
    >>> found["onset precision"], found["onset recall"], round(found["frame F1"], 3)
    (1.0, 0.5, 0.667)
    """
    if not played or not found:
        return dict.fromkeys(METRICS, float(not played and not found))
    precision, recall, f1, _ = _match(played, found, rate, offset_ratio=None)
    times = np.arange(frames) / rate
    active = [_active(notes, frames, rate) for notes in (played, found)]
    of_frames = mir_eval().multipitch.metrics(times, active[0], times, active[1])
    ours, theirs = of_frames[0], of_frames[1]
    frame = 2 * ours * theirs / (ours + theirs) if ours + theirs > 0 else 0.0
    values = (frame, f1, precision, recall, _match(played, found, rate)[2])
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def onset_f1(played: list[Note], found: list[Note], rate: float = FRAME_RATE) -> float:
    """The onset F1 of :func:`scores` alone.

    >>> a, b = Note(60, 80, 0.0, 0.5), Note(62, 80, 0.5, 1.0)
    >>> round(onset_f1([a, b], [a]), 3)
    0.667
    """
    if not played or not found:
        return float(not played and not found)
    return float(_match(played, found, rate, offset_ratio=None)[2])


def mean_and_error(rows: list[dict[str, float]]) -> dict[str, tuple[float, float | None]]:
    """The mean over sounds of every metric, and its standard error; None for one sound.

    >>> mean_and_error([{"onset F1": 0.5}, {"onset F1": 1.0}])
    {'onset F1': (0.75, 0.25)}
    """
    found = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
        found[name] = (float(values.mean()), error)
    return found


def played_notes(roll: np.ndarray, lowest: int, highest: int) -> list[Note]:
    """The notes of a roll ``(T, 128)`` within a range of keys."""
    keys = np.zeros_like(roll)
    keys[:, lowest : highest + 1] = roll[:, lowest : highest + 1]
    return notes_of_roll(keys)


def _match(played: list[Note], found: list[Note], rate: float, **options) -> Sequence[Any]:
    """Precision, recall, F1 and overlap of notes; ``offset_ratio=None`` leaves their ends out."""
    notes = (values for each in (played, found) for values in (_intervals(each, rate), _hertz(each)))
    return mir_eval().transcription.precision_recall_f1_overlap(*notes, onset_tolerance=TOLERANCE, **options)


def _hertz(notes: list[Note]) -> np.ndarray:
    return 440.0 * 2.0 ** ((np.array([note.pitch for note in notes]) - 69) / 12)


def _intervals(notes: list[Note], rate: float) -> np.ndarray:
    """Onsets and ends; a note of no length gets a frame, as in its roll."""
    return np.array([(note.start, max(note.end, note.start + 1 / rate)) for note in notes])


def _active(notes: list[Note], frames: int, rate: float) -> list[np.ndarray]:
    active: list[list[float]] = [[] for _ in range(frames)]
    for note, hertz in zip(notes, _hertz(notes), strict=True):
        first = round(note.start * rate)
        for i in range(first, min(max(round(note.end * rate), first + 1), frames)):
            active[i].append(hertz)
    return [np.array(sorted(set(each))) for each in active]

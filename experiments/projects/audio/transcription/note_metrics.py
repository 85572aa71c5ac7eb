"""From predictions for every frame and key to notes, and their comparison with the notes that were played.

The metrics follow mir_eval: a note is found if its onset is within 50 ms and its pitch within a quarter tone; a frame
has the keys that are active in it. An empty result where nothing was played counts as perfect, 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.cli.endings import ProgramError
from experiments.projects.audio.transcription.transcriber import HIGHEST, LOWEST
from scorekit.data.midi import notes_of_roll
from scorekit.data.phrases import FRAME_RATE, Note

TOLERANCE = 0.05
"""Tolerance of onsets, in seconds."""
METRICS = ("frame F1", "onset F1", "onset precision", "onset recall", "onset and end F1")


def mir_eval() -> Any:
    """The package, without which everything but the metrics of transcriptions works."""
    try:
        import mir_eval
    except ImportError as error:
        raise ProgramError("metrics of transcriptions need mir_eval: pip install 'scorekit[sound]'") from error
    return mir_eval


def decode(
    onset: np.ndarray,
    frame: np.ndarray,
    velocity: np.ndarray,
    onset_threshold: float = 0.3,
    rate: float = FRAME_RATE,
) -> list[Note]:
    """The notes of one sound, as in Onsets and Frames: every note has an onset, and lasts while its key is
    active with probability 1/2 and more, or until it is struck again.

    Args:
      onset: probabilities of onsets, ``(T, pitches)``.
      frame: probabilities that a key is active, ``(T, pitches)``.
      velocity: velocities of onsets over 127, ``(T, pitches)``.
      onset_threshold: least probability of an onset, which is also a maximum over two frames to either side.
      rate: frames to a second.

    Returns:
      Notes sorted by onset, then pitch, each of a frame or more.

    >>> onset, frame = np.zeros((6, 1)), np.array([[0.1, 0.9, 0.9, 0.8, 0.2, 0.1]]).T
    >>> onset[1:3, 0] = 0.9, 0.5
    >>> decode(onset, frame, np.full((6, 1), 0.5), rate=10)
    [Note(pitch=36, velocity=64, start=0.1, end=0.4)]
    """
    around = np.pad(onset, [(2, 2), (0, 0)])
    before = np.maximum(around[:-4], around[1:-3])
    after = np.maximum(around[3:-1], around[4:])
    peak = (onset >= onset_threshold) & (onset > before) & (onset >= after)
    notes = []
    for first, key in np.argwhere(peak):
        ends = (frame[first + 1 :, key] < 0.5) | peak[first + 1 :, key]
        held = 1 + (int(np.argmax(ends)) if ends.any() else len(ends))
        strength = int(np.clip(round(127 * float(velocity[first, key])), 1, 127))
        notes.append(Note(int(LOWEST + key), strength, float(first / rate), float((first + held) / rate)))
    return notes


def scores(played: list[Note], transcribed: list[Note], frames: int, rate: float = FRAME_RATE) -> dict[str, float]:
    """The ``METRICS`` of the notes ``transcribed`` from one sound, of ``rate`` frames a second.

    >>> a, b = Note(60, 80, 0.0, 0.5), Note(62, 80, 0.5, 1.0)
    >>> metrics = scores([a, b], [a], 16, rate=16)
    >>> metrics["onset precision"], metrics["onset recall"], round(metrics["frame F1"], 3)
    (1.0, 0.5, 0.667)
    """
    if not played or not transcribed:
        return dict.fromkeys(METRICS, float(not played and not transcribed))
    precision, recall, f1, _ = _match(played, transcribed, rate, offset_ratio=None)
    active = [_active(notes, frames, rate) for notes in (played, transcribed)]
    frame = 2 * np.sum(active[0] & active[1]) / max(np.sum(active[0]) + np.sum(active[1]), 1)
    values = (frame, f1, precision, recall, _match(played, transcribed, rate)[2])
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def means(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """The mean over two sounds or more of every metric, and its standard error.

    >>> means([{"onset F1": 0.5}, {"onset F1": 1.0}])
    {'onset F1': {'mean': 0.75, 'error': 0.25}}
    """
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    error = lambda x: float(x.std(ddof=1) / len(x) ** 0.5)
    return {name: {"mean": float(x.mean()), "error": error(x)} for name, x in values.items()}


def played_notes(roll: np.ndarray) -> list[Note]:
    """The notes of a roll ``(T, 128)`` within the keys of transcribers."""
    keys = np.zeros_like(roll)
    keys[:, LOWEST : HIGHEST + 1] = roll[:, LOWEST : HIGHEST + 1]
    return notes_of_roll(keys)


def _match(played: list[Note], transcribed: list[Note], rate: float, **options) -> Sequence[Any]:
    """Precision, recall, F1 and overlap of notes; ``offset_ratio=None`` leaves their ends out."""
    package, given = mir_eval(), []
    for notes in (played, transcribed):  # a note of no length gets a frame, as in its roll
        given.append(np.array([(note.start, max(note.end, note.start + 1 / rate)) for note in notes]))
        given.append(package.util.midi_to_hz(np.array([note.pitch for note in notes])))
    return package.transcription.precision_recall_f1_overlap(*given, onset_tolerance=TOLERANCE, **options)


def _active(notes: list[Note], frames: int, rate: float) -> np.ndarray:
    """Which of the 128 keys are down in each frame, ``(T, 128)``."""
    active = np.zeros((frames, 128), bool)
    for note in notes:
        first = round(note.start * rate)
        active[first : max(round(note.end * rate), first + 1), note.pitch] = True
    return active

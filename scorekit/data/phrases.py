"""Short polyphonic phrases with their piano roll, drawn from a seed and rendered from General MIDI instruments.

About the font and its licence see :mod:`scorekit.data.soundfont`.

>>> notes = random_phrase(0)
>>> len(notes) > 10, random_phrase(0) == notes, random_phrase(1) == notes
(True, True, False)
>>> piano_roll([Note(60, 100, 0.0, 0.03)], 3)[:, 60].tolist()
[100, 100, 0]
>>> from scorekit.data.soundfont import read_soundfont
>>> sound = render_phrase(read_soundfont(), 0, [Note(60, 100, 0.1, 0.5)], sample_rate=4000, seconds=1.0)
>>> sound.shape, bool(np.all(sound[:396] == 0)), round(float(np.abs(sound).max()), 3)
((4000,), True, 0.9)
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from scorekit.arguments import NonNegativeInt, Positive, checked
from scorekit.data._midi_keys import SevenBits
from scorekit.data.soundfont import SoundFont
from scorekit.data.synthesis import render_note

__all__ = ["FRAME_RATE", "PROGRAMS", "SECONDS", "Note", "piano_roll", "random_phrase", "render_phrase"]

SECONDS = 4.096
"""The length of a phrase of :func:`random_phrase`, in seconds."""
FRAME_RATE = 62.5
"""Frames of the piano roll to a second: one in 16 ms."""
_RELEASE = 1.0  # longest rendered release of a note, in seconds
_PEAK = 0.9
PROGRAMS = (0, 4, 11, 16, 24, 40, 48, 56, 71, 73)
"""Piano, electric piano, vibraphone, organ, guitar, violin, strings, trumpet, clarinet and flute."""

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
_CHORDS = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0), (5, 3, 0, 4), (0, 1, 4, 0))


class Note(NamedTuple):
    """A note of a phrase.

    Attributes:
      pitch: MIDI pitch.
      velocity: 1 to 127.
      start: onset, in seconds.
      end: release, in seconds.
    """

    pitch: int
    velocity: int
    start: float
    end: float


@checked
def random_phrase(seed: NonNegativeInt, seconds: Positive[float] = SECONDS) -> list[Note]:
    """A phrase in a key, with chords, a bass and a melody; the same for the same seed.

    Notes are sorted by onset, of pitches from 36 to 84; notes of one pitch do not overlap.

    Args:
      seed: seed of the draws.
      seconds: length; the last onset is at least 0.1 s before the end.
    """
    rng = np.random.default_rng(seed)
    beat = 60.0 / rng.integers(70, 131)
    tonic, scale = 48 + int(rng.integers(12)), _SCALES[rng.integers(2)]
    chords = _CHORDS[rng.integers(len(_CHORDS))]
    beats_per_chord = int(rng.choice([1, 2]))
    degree = lambda d: tonic + 12 * (d // 7) + scale[d % 7]
    notes, melody = [], 7 + int(rng.integers(7))
    for i in range(int(np.ceil(seconds / beat))):
        root = chords[i // beats_per_chord % len(chords)]
        velocity = lambda low, high: int(rng.integers(low, high + 1))
        if i % beats_per_chord == 0:
            length = beats_per_chord * beat
            notes.append((degree(root) - 12, velocity(70, 100), i * beat, length))
            notes += [(degree(root + d), velocity(50, 80), i * beat, length) for d in (0, 2, 4)]
        parts = int(rng.choice([1, 2, 2, 4]))
        for part in range(parts):
            melody = int(np.clip(melody + rng.choice([-2, -1, -1, 0, 1, 1, 2]), 7, 16))
            if rng.random() < 0.85:
                notes.append((degree(melody), velocity(80, 120), (i + part / parts) * beat, beat / parts))
    return _playable(notes, seconds)


def _playable(notes: Iterable[tuple[int, int, float, float]], seconds: float) -> list[Note]:
    """Restricts notes to the clip and the pitch range, and ends a note before its pitch is played again."""
    played: list[Note] = []
    down: dict[int, int] = {}
    for pitch, velocity, start, length in sorted(notes, key=lambda note: (note[2], note[0], -note[3])):
        pitch = min(max(pitch, 36), 84)
        if start > seconds - 0.1 or (pitch in down and played[down[pitch]].start == start):
            continue
        if pitch in down and played[down[pitch]].end > start:
            played[down[pitch]] = played[down[pitch]]._replace(end=max(start - 0.03, played[down[pitch]].start + 0.03))
        down[pitch] = len(played)
        played.append(Note(pitch, velocity, start, min(start + 0.9 * length, seconds)))
    return played


@checked
def piano_roll(notes: Sequence[Note], frames: NonNegativeInt, frame_rate: Positive[float] = FRAME_RATE) -> np.ndarray:
    """The piano roll of notes: the active keys at the times ``frame / frame_rate``.

    With ``frame_rate = sample_rate / hop`` its rows are the frames of :func:`scorekit.audio.stft`. A key that is
    struck again without a pause, and with the same velocity, is up for the frame before; a note of one frame stays. It
    is uint8 ``(T, 128)``: velocities, 0 for inactive keys; every note is active in at least one row, the one nearest to
    its onset.

    Args:
      notes: sorted by onset, for example from :func:`random_phrase`.
      frames: the number of rows ``T``.
      frame_rate: rows a second, in Hz.
    """
    roll = np.zeros((frames, 128), np.uint8)
    for note in notes:
        first = round(note.start * frame_rate)
        last = max(round(note.end * frame_rate), first + 1)
        if first > 1 and np.all(roll[first - 2 : first, note.pitch] == note.velocity):
            roll[first - 1, note.pitch] = 0
        roll[first:last, note.pitch] = note.velocity
    return roll


@checked
def render_phrase(
    font: SoundFont,
    program: SevenBits,
    notes: Sequence[Note],
    *,
    sample_rate: Positive[float],
    seconds: Positive[float] = SECONDS,
) -> np.ndarray:
    """Renders a phrase; onsets are rounded to the nearest sample.

    The result is float32 ``(round(seconds * sample_rate),)`` with its peak at 0.9, or silence.

    Args:
      font: instruments, see :func:`scorekit.data.soundfont.read_soundfont`.
      program: the instrument.
      notes: notes of the phrase.
      sample_rate: samples a second, in Hz.
      seconds: the length of the result.
    """
    out = np.zeros(round(seconds * sample_rate), np.float32)
    for note in notes:
        first = round(note.start * sample_rate)
        held = note.end - note.start
        rest = min(held + _RELEASE, (len(out) - first) / sample_rate)
        if round(rest * sample_rate) > 0:
            sound = render_note(
                font, program, note.pitch, note.velocity, sample_rate=sample_rate, held=held, seconds=rest
            )
            out[first : first + len(sound)] += sound
    peak = np.max(np.abs(out), initial=0.0)
    return out * np.float32(_PEAK / peak) if peak > 0 else out

"""Which notes the messages of a MIDI file play: keys, pedals and instruments of the sixteen channels; checks."""

import collections
import dataclasses
from typing import Annotated, Any, TypeAlias

import numpy as np

from scorekit.arguments import Count

SevenBits: TypeAlias = Annotated[int, Count(0, 127)]
"""A pitch or an instrument."""

_SUSTAIN, _ALL_SOUND_OFF, _ALL_NOTES_OFF = 64, 120, 123


def check_bytes(least: int, **named: Any) -> None:
    """Raises ``ValueError`` unless arrays hold integers from ``least`` to 127."""
    for name, value in named.items():
        array = np.asarray(value)
        if array.dtype.kind not in "iu":
            raise ValueError(f"{name} must hold integers from {least} to 127, got {array.dtype}")
        if np.any(wrong := (array < least) | (array > 127)):
            raise ValueError(f"{name} must hold integers from {least} to 127, got {array[wrong].flat[0]}")


def program_of_each(programs: Any, count: int) -> list[int]:
    """The instruments of so many notes, from one for all or one for each; raises ``ValueError`` for other numbers."""
    of_each = [programs] * count if np.ndim(programs) == 0 else list(programs)
    if len(of_each) != count:
        raise ValueError(f"programs must be one or one for each of {count} notes, got {len(of_each)}")
    check_bytes(0, programs=np.asarray(of_each, None if of_each else int))
    return of_each


def check_note(note: Any) -> None:
    """Raises ``ValueError`` for a note whose pitch, velocity or times are not allowed."""
    check_bytes(0, pitch=note.pitch)
    check_bytes(1, velocity=note.velocity)
    if not (0 <= note.start <= note.end < float("inf")):
        raise ValueError(f"start and end must be finite with 0 <= start <= end, got {note.start} and {note.end}")


@dataclasses.dataclass
class _Played:
    """A note of a program; ``end`` is NaN until it is known."""

    pitch: int
    velocity: int
    program: int
    start: float
    end: float = float("nan")

    @property
    def open(self) -> bool:
        return self.end != self.end


class Keyboard:
    """Receives messages in the order of time and collects notes; ``drums`` is the channel that is left out.

    A key that is struck while it is down ends the note before, so that only the newest of a key can be open; each
    release belongs to the earliest strike that has none yet.
    """

    def __init__(self, drums: int):
        self.notes: list[_Played] = []
        self.drums = self.unfinished = 0
        self._drums = drums
        self._program, self._pedal = [0] * 16, [False] * 16
        self._down = [collections.defaultdict[int, collections.deque[_Played]](collections.deque) for _ in range(16)]
        self._newest: dict[tuple[int, int], _Played] = {}
        self._sustained: list[list[_Played]] = [[] for _ in range(16)]

    def receive(self, message: Any, now: float) -> None:
        """Takes a message of mido at a time in seconds; those that play nothing are ignored."""
        channel = getattr(message, "channel", None)
        if channel is None:
            return
        if channel == self._drums:
            self.drums += message.type == "note_on" and message.velocity > 0
        elif message.type == "note_on" and message.velocity > 0:
            self._strike(channel, message.note, message.velocity, now)
        elif message.type in ("note_on", "note_off"):
            self._release(channel, message.note, now)
        elif message.type == "program_change":
            self._program[channel] = message.program
        elif message.type == "control_change":
            self._control(channel, message.control, message.value, now)

    def finish(self, now: float) -> None:
        """Ends what still sounds at the end of the file."""
        sustained = {id(note) for notes in self._sustained for note in notes}
        for note in self._newest.values():
            if note.open:
                self.unfinished += id(note) not in sustained
                note.end = now

    def _strike(self, channel: int, pitch: int, velocity: int, now: float) -> None:
        before = self._newest.get((channel, pitch))
        if before is not None and before.open:
            before.end = now
        note = _Played(pitch, velocity, self._program[channel], now)
        self._newest[channel, pitch] = note
        self._down[channel][pitch].append(note)
        self.notes.append(note)

    def _release(self, channel: int, pitch: int, now: float) -> None:
        if not self._down[channel][pitch]:
            return
        note = self._down[channel][pitch].popleft()
        if note.open and self._pedal[channel]:
            self._sustained[channel].append(note)
        elif note.open:
            note.end = now

    def _control(self, channel: int, control: int, value: int, now: float) -> None:
        if control == _SUSTAIN:
            self._pedal[channel] = value >= 64
        if control in (_ALL_NOTES_OFF, _ALL_SOUND_OFF):
            for pitch, notes in self._down[channel].items():
                while notes:
                    self._release(channel, pitch, now)
            self._down[channel].clear()
        if (control == _SUSTAIN and value < 64) or control == _ALL_SOUND_OFF:
            for note in self._sustained[channel]:
                note.end = now if note.open else note.end
            self._sustained[channel].clear()

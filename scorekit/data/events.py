"""Music as a sequence of events: notes that begin and end, time that passes, velocities and instruments.

Times are rounded to steps of a declared resolution; beyond that no score loses anything. Each score has one *canonical*
sequence, and :meth:`EventCode.decode` is its inverse on these. At one time, notes that began before end first, by pitch
and age, then notes begin, by pitch, each of no length followed by its end. Time passes in the longest shifts that there
are and the rest; a velocity or an instrument is said where it changes.

Any other sequence of tokens is decoded as well, and ends that do not match are counted in remarks.

>>> code = EventCode(resolution=0.01, velocities=4)
>>> tokens = code.encode([Note(60, 100, 0.0, 0.5), Note(64, 100, 0.25, 0.5)], seconds=2.0)
>>> print(*code.names(tokens), sep=", ")
velocity 112, on 60, shift 25, on 64, shift 25, off 60, off 64, shift 100, shift 50, end
>>> code.decode(tokens).notes[0], code.decode(tokens).seconds, len(code.decode(tokens).remarks)
(Note(pitch=60, velocity=112, start=0.0, end=0.5), 2.0, 0)
>>> code.decode(code.tokens(["off 60", "on 60", "end"])).remarks
('note-offs without a note, ignored: 1', 'notes without an end, which last until the end of the sequence: 1')
"""

import collections
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np

from scorekit.arguments import Between, Count
from scorekit.checks import check_classes
from scorekit.data._midi_keys import SevenBits, check_note, program_of_each
from scorekit.data.midi import Score
from scorekit.data.phrases import Note
from scorekit.trees import pytree_dataclass, static

__all__ = ["EventCode"]

_MOST_SECONDS = 4 * 3600.0
_REMARKS = {
    "off": "note-offs without a note, ignored",
    "next": '"next" without so many notes of a key, ignored',
    "open": "notes without an end, which last until the end of the sequence",
    "late": "notes after the window, left out",
}


class _Played(NamedTuple):
    """A note in steps, in the order in which notes of one time begin."""

    first: int
    pitch: int
    program: int
    velocity: int
    last: int


@pytree_dataclass
class EventCode:
    """The vocabulary of events, and the way from notes to tokens and back.

    The tokens are, in this order: the end; for each pitch from ``lowest`` to ``highest`` a note-on, then for each a
    note-off, which ends the oldest note of its key; "next", by which the note-off after it ends a later one; shifts of
    time by 1 to ``shifts`` steps; ``velocities`` bins of velocities, if there is more than one; with ``programs`` the
    128 instruments of General MIDI. Before any is said, the velocity is the middle bin's and the instrument 0.

    Attributes:
      resolution: a step, in seconds.
      shifts: longest shift of time, in steps.
      velocities: bins of the velocities 1 to 127; 127 loses nothing, 1 has no tokens.
      lowest, highest: range of MIDI pitches, both included.
      programs: whether instruments have tokens; otherwise each is decoded as 0.

    >>> EventCode(resolution=0.0)
    Traceback (most recent call last):
    ValueError: resolution must be in [0.001, 1], got 0.0

    Source: Oore et al. 2018, "This time with feeling" (https://arxiv.org/abs/1808.03715).
    """

    resolution: Annotated[float, Between(0.001, 1)] = static(default=0.01)
    shifts: Annotated[int, Count(1, 4096)] = static(default=100)
    velocities: Annotated[int, Count(1, 127)] = static(default=32)
    lowest: SevenBits = static(default=0)
    highest: SevenBits = static(default=127)
    programs: bool = static(default=False)

    def __post_init__(self):
        if self.lowest > self.highest:
            allowed = "lowest and highest must satisfy 0 <= lowest <= highest <= 127"
            raise ValueError(f"{allowed}, got {self.lowest} and {self.highest}")
        if not isinstance(self.programs, (bool, np.bool_)):
            raise ValueError(f"programs must be True or False, got {self.programs!r}")

    @functools.cached_property
    def _events(self) -> list[tuple[str, int]]:
        """The kind and value of each token; of a velocity the middle of its bin."""
        pitches, bins = range(self.lowest, self.highest + 1), self.velocities
        kinds: dict[str, Iterable[int]]
        kinds = {"end": [0], "on": pitches, "off": pitches, "next": [0], "shift": range(1, self.shifts + 1)}
        kinds |= {"velocity": map(self._middle, range(bins if bins > 1 else 0)), "program": range(128 * self.programs)}
        return [(kind, value) for kind, values in kinds.items() for value in values]

    @functools.cached_property
    def _tokens(self) -> dict[tuple[str, int], int]:
        return {event: token for token, event in enumerate(self._events)}

    @property
    def num_tokens(self) -> int:
        """The size of the vocabulary."""
        return len(self._events)

    @property
    def end(self) -> int:
        """The token of the end of a sequence."""
        return self._tokens["end", 0]

    def names(self, tokens: Iterable[int]) -> list[str]:
        """Tokens in words: ``on 60``, ``off 60``, ``next``, ``shift 25``, ``velocity 64``, ``program 0``, ``end``.

        Args:
          tokens: tokens of the vocabulary, ``(L,)``.
        """
        return [kind if kind in ("end", "next") else f"{kind} {value}" for kind, value in self._read(tokens)]

    def tokens(self, names: Iterable[str]) -> list[int]:
        """The tokens of words, the inverse of :meth:`names`.

        Args:
          names: tokens in words.
        """
        words = {name: token for token, name in enumerate(self.names(range(self.num_tokens)))}
        names = [names] if isinstance(names, str) else list(names)
        if unknown := [name for name in names if name not in words]:
            raise ValueError(f"names must be words for tokens, such as {', '.join(words)[:60]}…, got {unknown[0]!r}")
        return [words[name] for name in names]

    def encode(
        self,
        notes: Iterable[Note],
        programs: int | Sequence[int] = 0,
        seconds: float | None = None,
        window: bool = False,
    ) -> np.ndarray:
        """The canonical sequence of notes, int32 ``(L,)``, which closes with the end.

        Args:
          notes: times in seconds, in any order.
          programs: the instrument, one for all or one for each note; without effect unless the code has ``programs``.
          seconds: time of the end; by default, and at least, the end of the last note.
          window: whether ``seconds`` is known without being said: notes that last until then have no note-off, and
            what is later is left out.

        Raises:
          ValueError: for notes that are none, or have pitches outside the code.
        """
        notes = list(notes)
        played = []
        for note, program in zip(notes, program_of_each(programs, len(notes)), strict=True):
            check_note(note)
            if not self.lowest <= note.pitch <= self.highest:
                raise ValueError(f"notes must have pitches from {self.lowest} to {self.highest}, got {note.pitch}")
            velocity = self._middle((note.velocity - 1) * self.velocities // 127)
            times = (self._step(time, "notes must have times") for time in (note.start, note.end))
            first, last = times
            played.append(_Played(first, note.pitch, program * self.programs, velocity, last))
        end = self._step(0.0 if seconds is None else seconds)
        found = [*self._in_order(sorted(played), end, window), ("end", 0)]
        return np.asarray([self._tokens[event] for event in found], np.int32)

    def _in_order(self, played: list[_Played], end: int, window: bool) -> Iterator[tuple[str, int]]:
        now, velocity, program = 0, self._middle((self.velocities - 1) // 2), 0
        down: dict[int, list[_Played]] = collections.defaultdict(list)

        def shift(until: int) -> list[tuple[str, int]]:
            full, rest = divmod(until - now, self.shifts)
            return [("shift", self.shifts)] * full + [("shift", rest)] * (rest > 0)

        def release(note: _Played) -> list[tuple[str, int]]:
            older = down[note.pitch].index(note)
            del down[note.pitch][older]
            return [("next", 0)] * older + [("off", note.pitch)]

        starting, ending = collections.defaultdict(list), collections.defaultdict(list)
        for note in played:
            starting[note.first].append(note)
            ending[note.last].append(note)
        for time in sorted({*starting, *ending}):
            if window and time >= end:
                return
            yield from shift(time)
            now = time
            for note in sorted(ending[time], key=lambda note: note.pitch):
                if note.first < time:
                    yield from release(note)
            for note in starting[time]:
                if note.velocity != velocity:
                    velocity = note.velocity
                    yield "velocity", velocity
                if note.program != program:
                    program = note.program
                    yield "program", program
                yield "on", note.pitch
                down[note.pitch].append(note)
                if note.last == time:
                    yield from release(note)
        if end > now and not window:
            yield from shift(end)

    def decode(self, tokens: Iterable[int], seconds: float | None = None) -> Score:
        """The score of any sequence of tokens; tokens after the first end are left out.

        Remarks say how many note-offs had no note, how many "next" had no note-off with so many notes before it, how
        many notes had no end and last until the sequence ends, and that the sequence had no end.

        Args:
          tokens: tokens of the vocabulary, ``(L,)``.
          seconds: the end of a window, where notes without a note-off end and what is later is left out, with a remark;
            by default the sequence lasts until its last event.

        Raises:
          ValueError: for tokens beyond the vocabulary.
        """
        now, velocity, program, older, ended = 0, self._middle((self.velocities - 1) // 2), 0, 0, False
        end = None if seconds is None else self._step(seconds)
        down: dict[int, list[int]] = collections.defaultdict(list)
        found: list[list[int]] = []
        said: collections.Counter[str] = collections.Counter()
        for kind, value in self._read(tokens):
            if older and kind not in ("next", "off"):
                said["next"] += older
                older = 0
            if kind == "end":
                ended = True
                break
            if kind == "on":
                down[value].append(len(found))
                found.append([now, value, velocity, program, -1])
            elif kind == "off":
                if older >= len(down[value]):
                    said["next"] += older
                    older = 0
                if down[value]:
                    found[down[value].pop(older)][-1] = now
                else:
                    said["off"] += 1
                older = 0
            elif kind == "next":
                older += 1
            elif kind == "shift":
                now += value
            elif kind == "velocity":
                velocity = value
            else:
                program = value
        said["next"] += older
        if end is None:
            end, said["open"] = now, sum(last < 0 for *_, last in found)
        else:
            said["late"] = sum(first >= end for first, *_ in found)
        second = lambda step: float(step * self.resolution)
        notes = [
            (Note(pitch, velocity, second(first), second(end if last < 0 else min(last, end))), program)
            for first, pitch, velocity, program, last in found
            if first < end or seconds is None
        ]
        notes.sort(key=lambda each: (each[0].start, *each))
        remarks = [f"{text}: {said[kind]}" for kind, text in _REMARKS.items() if said[kind]]
        if not ended:
            remarks.append("the sequence has no end")
        return Score(tuple(note for note, _ in notes), tuple(p for _, p in notes), second(end), tuple(remarks))

    def _middle(self, bin_: int) -> int:
        """The middle of the velocities of a bin."""
        low, high = (-(-127 * (bin_ + i) // self.velocities) for i in (0, 1))
        return 1 + (low + high - 1) // 2

    def _step(self, seconds: float, must: str = "seconds must be") -> int:
        if not 0 <= seconds <= _MOST_SECONDS:
            raise ValueError(f"{must} from 0 to {_MOST_SECONDS:g}, got {seconds}")
        return round(seconds / self.resolution)

    def _read(self, tokens: Iterable[int]) -> list[tuple[str, int]]:
        listed: Any = tokens if hasattr(tokens, "__array__") else list(tokens)
        try:
            array = np.asarray(listed if np.size(listed) else np.zeros(0, int))
        except ValueError as error:
            raise ValueError(f"tokens must have shape (L,), got {listed}") from error
        if array.ndim != 1 or array.dtype.kind not in "biuf":
            raise ValueError(f"tokens must be integers (L,), got {array.dtype} {array.shape}")
        check_classes(self.num_tokens, tokens=array)
        return [self._events[token] for token in array.tolist()]

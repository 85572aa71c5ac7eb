"""Music in MIDI files, as notes in seconds and as piano rolls; by mido (``pip install 'scorekit[audio]'``).

A standard MIDI file counts time in ticks, ``tempo / ticks_per_beat`` microseconds each, and the tempo may change: the
sum is taken in integers and divided once, so that every time is the nearest float64. Percussion (channel 10) has no
pitch and is left out. Each omission or change is described in a sentence.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     write_score(folder + "/a.mid", [Note(60, 100, 0.0, 0.5)], 73)
...     score = Score(*read_score(folder + "/a.mid", lowest=72, out_of_range="octave"))
...     roll = read_midi(folder + "/a.mid", rate=4)
...     write_midi(folder + "/b.mid", roll, rate=4)
...     again = read_midi(folder + "/b.mid", rate=4)
>>> score.notes, score.programs, score.remarks
((Note(pitch=72, velocity=100, start=0.0, end=0.5),), (73,), ('1 note of pitch 60 moved to 72',))
>>> roll[:, 60].tolist(), bool(np.all(again == roll)), notes_of_roll(roll, rate=4)
([100, 100], True, [Note(pitch=60, velocity=100, start=0.0, end=0.5)])
"""

import collections
import importlib
import io
import os
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from scorekit.arguments import Between, Positive, checked
from scorekit.checks import check, warn_caller
from scorekit.data._midi_keys import Keyboard, SevenBits, check_bytes, check_note, program_of_each
from scorekit.data.phrases import FRAME_RATE, Note, piano_roll
from scorekit.io import read_file

__all__ = ["Score", "notes_of_roll", "read_midi", "read_score", "write_midi", "write_score"]

_OutOfRange = Literal["error", "octave"]
_TICKS_PER_BEAT, _TEMPO = 960, 500_000
_TICKS = _TICKS_PER_BEAT * 1_000_000 / _TEMPO  # to a second, of files that are written
_LARGEST_RATE = 1000.0  # of rolls that are written: a frame is then longer than a tick
_MOST_BYTES, _MOST_HOURS, _MOST_FRAMES = 2**22, 4, 2**23
"""Limits of a file that is read, of its music, and of a roll, which then has 1 GiB."""
_LONG_NUMBER = re.compile(rb"[\x80-\xff]{10000}")
"""A time or length has four bytes by the standard, each but the last from 128 on; texts may have some in a row."""
_DRUMS = 9
_CHANNELS = [channel for channel in range(16) if channel != _DRUMS]


class Score(NamedTuple):
    """The music of a MIDI file.

    Attributes:
      notes: sorted by onset, then pitch; times in seconds.
      programs: the General MIDI instrument of each note, 0 to 127.
      seconds: the length of the file.
      remarks: omissions and changes, a sentence each.
    """

    notes: tuple[Note, ...]
    programs: tuple[int, ...]
    seconds: float
    remarks: tuple[str, ...]


@checked
def read_score(
    path: str | os.PathLike, *, lowest: SevenBits = 0, highest: SevenBits = 127, out_of_range: _OutOfRange = "error"
) -> Score:
    """Reads the notes of a MIDI file, of all tracks and instruments.

    A note lasts until its key is released, or with the sustain pedal until that is; a key that is struck again on the
    same channel ends the note before. Notes of no length remain.

    Args:
      path: path of a file of type 0 or 1, at most 4 MiB and 4 hours.
      lowest, highest: range of MIDI pitches, both included.
      out_of_range: notes outside are an ``"error"``, or move by the fewest octaves (``"octave"``), with a remark.
    """
    if lowest > highest:
        raise ValueError(f"lowest and highest must satisfy 0 <= lowest <= highest <= 127, got {lowest} and {highest}")
    keyboard, seconds = _played(os.fspath(path))
    played = sorted(keyboard.notes, key=lambda note: (note.start, note.pitch))
    wrong = collections.Counter(note.pitch for note in played if not lowest <= note.pitch <= highest)
    moved = {pitch: _moved(pitch, lowest, highest) for pitch in sorted(wrong)}
    if wrong and (out_of_range == "error" or None in moved.values()):
        listed = ", ".join(f"{count} of {pitch}" for pitch, count in sorted(wrong.items()))
        raise ValueError(f"path must have notes from {lowest} to {highest}, got {listed} in {os.fspath(path)!r}")
    notes = tuple(Note(moved.get(n.pitch, n.pitch) or 0, n.velocity, n.start, n.end) for n in played)
    remarks = [f"{_notes(wrong[pitch])} of pitch {pitch} moved to {to}" for pitch, to in moved.items()]
    if keyboard.drums:
        remarks.append(f"{_notes(keyboard.drums)} of percussion (channel 10) left out")
    if keyboard.unfinished:
        remarks.append(f"{_notes(keyboard.unfinished)} without an end last until the end of the file")
    return Score(notes, tuple(note.program for note in played), seconds, tuple(remarks))


def write_score(
    path: str | os.PathLike, notes: Iterable[Note], programs: int | Sequence[int] = 0, seconds: float | None = None
) -> None:
    """Writes notes as a MIDI file: a track for each instrument, 120 beats to a minute, 1920 ticks to a second.

    Args:
      path: path of the file, in a folder that exists.
      notes: times in seconds, rounded to a tick.
      programs: the General MIDI instrument, one for all or one for each note; at most 15 different ones.
      seconds: length of the file; by default the length of its notes.

    >>> write_score("/nowhere/a.mid", [Note(60, 100, 0.0, 0.5)])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: path must be a file that can be written, got '/nowhere/a.mid': ...
    """
    mido, notes = _mido(), list(notes)
    of_each = program_of_each(programs, len(notes))
    used = sorted(set(of_each)) or [0]
    if len(used) > len(_CHANNELS):
        raise ValueError(f"programs must be at most {len(_CHANNELS)} different ones, got {len(used)}")
    for note in notes:
        check_note(note)
    last = max((note.end for note in notes), default=0.0)
    end = last if seconds is None else seconds
    most = 3600.0 * _MOST_HOURS
    allowed = f"at least {last:g}, the end of the notes, and at most {most:g}"
    check(lambda x: (x >= last) & (x <= most), allowed, seconds=end)
    tempo = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=_TEMPO)])
    song = mido.MidiFile(type=1, ticks_per_beat=_TICKS_PER_BEAT, tracks=[tempo])
    for program, channel in zip(used, _CHANNELS, strict=False):
        mine = [note for note, its in zip(notes, of_each, strict=True) if its == program]
        song.tracks.append(_track(mido, mine, program, channel, round(end * _TICKS)))
    try:
        song.save(os.fspath(path))
    except OSError as error:
        raise ValueError(f"path must be a file that can be written, got {os.fspath(path)!r}: {error}") from error


@checked
def notes_of_roll(roll: np.ndarray, rate: Positive[float] = FRAME_RATE) -> list[Note]:
    """The notes of a piano roll: runs of one velocity; the inverse of :func:`scorekit.data.phrases.piano_roll`.

    They are sorted by onset, then pitch; frame ``m`` begins at ``m / rate`` seconds.

    Args:
      roll: velocities ``(T, 128)``, integers from 0 to 127, 0 for keys that are up.
      rate: frames to a second.
    """
    roll = np.asarray(roll)
    if roll.ndim != 2 or roll.shape[1] != 128:
        raise ValueError(f"roll must be (T, 128), got {roll.shape}")
    check_bytes(0, roll=roll)
    keys = np.pad(roll.astype(np.int16), [(1, 1), (0, 0)])
    changes = keys[1:] != keys[:-1]
    starts = np.argwhere((changes & (keys[1:] > 0)).T)  # by key, then time
    ends = np.argwhere((changes & (keys[:-1] > 0)).T)
    notes = [
        Note(int(pitch), int(roll[first, pitch]), float(first / rate), float(last / rate))
        for (pitch, first), (_, last) in zip(starts, ends, strict=True)
    ]
    return sorted(notes, key=lambda note: (note.start, note.pitch))


@checked
def read_midi(
    path: str | os.PathLike,
    *,
    rate: Positive[float] = FRAME_RATE,
    lowest: SevenBits = 0,
    highest: SevenBits = 127,
    out_of_range: _OutOfRange = "error",
) -> np.ndarray:
    """Reads a MIDI file as a piano roll of all its instruments; remarks of :func:`read_score` become warnings.

    Velocities are uint8; where notes of several instruments meet on a key, the later one counts. A file with neither
    notes nor length is an error.

    Args:
      path: path of a file of type 0 or 1, at most 4 MiB and 4 hours.
      rate: frames to a second; a roll has at most 2²³ frames.
      lowest, highest: range of MIDI pitches, both included.
      out_of_range: notes outside are an ``"error"``, or move by the fewest octaves (``"octave"``), with a remark.
    """
    score = read_score(path, lowest=lowest, highest=highest, out_of_range=out_of_range)
    for remark in score.remarks:
        warn_caller(f"{os.fspath(path)}: {remark}")
    if score.seconds * rate > _MOST_FRAMES:
        raise ValueError(
            f"rate must give at most {_MOST_FRAMES:,} frames, got {rate} for {os.fspath(path)!r}, which "
            f"lasts {score.seconds:g} s"
        )
    frames = max([round(score.seconds * rate), *(round(note.start * rate) + 1 for note in score.notes)])
    if frames == 0:
        raise ValueError(f"path must have notes or a length, got none in {os.fspath(path)!r}")
    return piano_roll(score.notes, int(frames), rate)


@checked
def write_midi(
    path: str | os.PathLike,
    roll: np.ndarray,
    *,
    rate: Annotated[float, Between(0, _LARGEST_RATE, "low")] = FRAME_RATE,
    program: SevenBits = 0,
) -> None:
    """Writes a piano roll as a MIDI file that :func:`read_midi` reads back exactly, silence at the end included.

    Args:
      path: path of the file, in a folder that exists.
      roll: velocities ``(T, 128)``, T >= 1, integers from 0 to 127, 0 for keys that are up.
      rate: frames to a second.
      program: the General MIDI instrument.
    """
    notes = notes_of_roll(roll, rate)
    if not len(roll):
        raise ValueError("roll must have a frame or more, got none")
    write_score(path, notes, program, len(roll) / rate)


def _mido() -> Any:
    try:
        return importlib.import_module("mido")
    except ImportError as error:
        raise ImportError("MIDI files need mido: pip install 'scorekit[audio]'") from error


def _played(path: str) -> tuple[Keyboard, float]:
    """Everything that a file plays, and its length in seconds."""
    mido = _mido()
    try:
        content = read_file(path, limit=_MOST_BYTES)
        if _LONG_NUMBER.search(content):
            raise ValueError("a time or length of more than 10,000 bytes")
        song = mido.MidiFile(file=io.BytesIO(content))
        if song.ticks_per_beat <= 0:
            raise ValueError("its times are not in ticks of a beat but SMPTE frames")
        messages = song.merged_track
    except (OSError, EOFError, ValueError, TypeError, LookupError, mido.KeySignatureError) as error:
        reason = str(error) or "it ends too early"
        raise ValueError(f"path must be a MIDI file of type 0 or 1, got {path!r}: {reason}") from error
    keyboard, tempo, elapsed, now = Keyboard(_DRUMS), _TEMPO, 0, 0.0
    second = song.ticks_per_beat * 1_000_000
    for message in messages:
        elapsed += message.time * tempo
        if elapsed > _MOST_HOURS * 3600 * second:
            raise ValueError(f"path must be a MIDI file of at most {_MOST_HOURS} hours, got {path!r}")
        now = elapsed / second
        if message.type == "set_tempo":
            tempo = message.tempo
            if tempo == 0:
                raise ValueError(f"path must be a MIDI file of tempos above 0, got 0 microseconds a beat in {path!r}")
        else:
            keyboard.receive(message, now)
    keyboard.finish(now)
    return keyboard, now


def _moved(pitch: int, lowest: int, highest: int) -> int | None:
    """The pitch moved by octaves into the range, or None where none of its octaves is in it."""
    up = pitch + 12 * max(-(-(lowest - pitch) // 12), 0)
    down = up - 12 * max(-(-(up - highest) // 12), 0)
    return down if lowest <= down <= highest else None


def _notes(count: int) -> str:
    return f"{count} note{'s' * (count != 1)}"


def _track(mido: Any, notes: Sequence[Note], program: int, channel: int, end: int) -> Any:
    """The messages of one instrument: at one tick releases come first, except for notes of no length."""
    events = [(0, -1, mido.Message("program_change", program=program, channel=channel))]
    for note in notes:
        first, last = round(note.start * _TICKS), round(note.end * _TICKS)
        key = {"note": int(note.pitch), "channel": channel}
        events.append((first, 1, mido.Message("note_on", velocity=int(note.velocity), **key)))
        events.append((last, 2 if first == last else 0, mido.Message("note_off", **key)))
    events.append((end, 3, mido.MetaMessage("end_of_track")))
    track, now = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    return track

"""Music as symbols: up to five voices; in every step of 64 ms each voice begins a note, holds it or rests.

A *state* is the sound of a voice: 0 nothing, ``2 (pitch - 36) + 1`` in the step where a note begins, one more while it
is held. A *code* is only the change: 0 nothing, 1 the note is held, ``2 + pitch - 36`` a note begins. A note that is
held at the first step of a sequence begins there. Velocities are not in the codes: each voice has its own.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.data.phrases import Note
from scorekit.typing import Array

STEP = 0.064
"""A step of musical time, in seconds."""
VOICES = 5
LOWEST, HIGHEST = 36, 84
PITCHES = HIGHEST - LOWEST + 1
REST, HOLD, FIRST = 0, 1, 2
"""Codes: nothing, the note is held, the lowest note begins."""
NUM_CODES = FIRST + PITCHES
VELOCITIES = (85, 65, 65, 65, 100)
"""Velocities of the voices, the lowest first: the means of bass, chords and melody of the phrases."""
REGISTERS = (44, 55, 60, 65, 80)
"""The pitches that each voice is for."""


class Played(NamedTuple):
    """A note in steps: it begins with step ``first`` and ends before step ``last``."""

    pitch: int
    first: int
    last: int


def quantise(notes: Iterable[Note]) -> list[Played]:
    """Notes with times rounded to steps, of one step at least, by onset and pitch.

    A note ends where its key is struck again; of two that begin together on a key the first counts.

    Raises:
      ValueError: for a pitch that is not from 36 to 84.

    >>> quantise([Note(60, 90, 0.0, 0.2), Note(60, 90, 0.13, 0.14)])
    [Played(pitch=60, first=0, last=2), Played(pitch=60, first=2, last=3)]
    """
    down: dict[int, int] = {}
    found: list[Played] = []
    for note in sorted(notes, key=lambda note: (round(note.start / STEP), note.pitch)):
        if not LOWEST <= note.pitch <= HIGHEST:
            raise ValueError(f"notes must have pitches from {LOWEST} to {HIGHEST}, got {note.pitch}")
        first = round(note.start / STEP)
        before = down.get(note.pitch)
        if before is not None and found[before].first == first:
            continue
        if before is not None and found[before].last > first:
            found[before] = found[before]._replace(last=first)
        down[note.pitch] = len(found)
        found.append(Played(note.pitch, first, max(round(note.end / STEP), first + 1)))
    return found


def to_states(played: Sequence[Played], steps: int) -> tuple[np.ndarray, int]:
    """Notes as voices: notes that begin together go to the free voices whose registers are nearest.

    They are in the order of their pitches, and the sum of their distances to :data:`REGISTERS` is the smallest.
    :func:`to_played` is the inverse where no more than :data:`VOICES` notes sound at once.

    Args:
      played: notes by onset, from :func:`quantise`.
      steps: number of steps of the result; later notes are left out.

    Returns:
      States ``(steps, VOICES)``, uint8, and the number of notes that no voice was free for, inner ones first.
    """
    states = np.zeros((steps, VOICES), np.uint8)
    until, left_out = [0] * VOICES, 0
    within = (note for note in played if note.first < steps)
    for first, group in itertools.groupby(within, key=lambda note: note.first):
        new, free = list(group), [v for v in range(VOICES) if until[v] <= first]
        left_out += max(len(new) - len(free), 0)
        while len(new) > len(free):
            del new[len(new) // 2]
        cost = lambda voices, new=new: sum(abs(REGISTERS[v] - n.pitch) for v, n in zip(voices, new, strict=True))
        for voice, note in zip(min(itertools.combinations(free, len(new)), key=cost), new, strict=True):
            until[voice] = note.last
            begins = 2 * (note.pitch - LOWEST) + 1
            states[note.first : note.last, voice] = begins + 1
            states[note.first, voice] = begins
    return states, left_out


def to_played(states: np.ndarray) -> list[Played]:
    """The notes of voices ``(steps, VOICES)``, by onset and pitch; what is held without a beginning begins there.

    A key that two voices strike at once sounds once; struck again by another voice, it ends the note before.
    """
    states = np.asarray(states, int)
    pitch = np.where(states > 0, (states - 1) // 2, -1)
    before = np.concatenate([np.full((1, states.shape[1]), -1), pitch[:-1]])
    begins = (pitch >= 0) & ((states % 2 == 1) | (before != pitch))
    found = []
    for step, voice in np.argwhere(begins):
        key = pitch[step, voice]
        ends = (pitch[step + 1 :, voice] != key) | begins[step + 1 :, voice]
        held = 1 + (int(np.argmax(ends)) if ends.any() else len(ends))
        found.append(Note(int(LOWEST + key), 1, float(STEP * step), float(STEP * (step + held))))
    return quantise(found)


def to_notes(states: np.ndarray) -> list[Note]:
    """The notes of voices in seconds, with the velocity of their voice."""
    found = {
        (note.pitch, note.first): Note(note.pitch, velocity, STEP * note.first, STEP * note.last)
        for voice, velocity in enumerate(VELOCITIES)
        for note in to_played(states[:, [voice]])
    }
    kept = to_played(states)
    return [found[n.pitch, n.first]._replace(end=STEP * n.last) for n in kept]


def to_codes(states: np.ndarray) -> np.ndarray:
    """The codes of states ``(..., steps, VOICES)``."""
    states = np.asarray(states, np.int32)
    begins = (states % 2 == 1) | ((np.arange(states.shape[-2]) == 0)[:, None] & (states > 0))
    return np.where(begins, FIRST + (states - 1) // 2, np.where(states > 0, HOLD, REST))


def from_codes(codes: Any, before: Any = None) -> Array:
    """The states of codes ``(..., steps, VOICES)``; a note that is held and never began is nothing.

    Args:
      before: the states ``(..., VOICES)`` of the step before, whose notes may be held on; None is silence.
    """
    codes = jnp.asarray(codes, jnp.int32)
    steps = jnp.arange(codes.shape[-2])[:, None]
    at = jax.lax.cummax(jnp.where(codes == HOLD, -1, steps), axis=codes.ndim - 2)
    source = jnp.take_along_axis(codes, jnp.maximum(at, 0), axis=-2)
    own = jnp.where(source >= FIRST, 2 * (source - FIRST) + 1, 0)
    last = jnp.zeros(VOICES, jnp.int32) if before is None else jnp.asarray(before, jnp.int32)
    held = jnp.broadcast_to(last[..., None, :], codes.shape)
    state = jnp.where(at < 0, jnp.where(held > 0, held - 1 + held % 2, 0), own)
    return jnp.where(state > 0, state + (codes == HOLD), 0)


def pictures(states: Any) -> Array:
    """Piano rolls ``(B, pitches, steps, 1)`` in [-1, 1]: 1 where a note begins, 0.2 where it is held."""
    states = jnp.asarray(states, jnp.int32)
    keys = jnp.arange(PITCHES)[::-1]
    sounds = ((states[..., None] - 1) // 2 == keys) & (states > 0)[..., None]
    level = jnp.where(states % 2 == 1, 2.0, 1.2)[..., None]
    return jnp.swapaxes((sounds * level).max(axis=-2), 1, 2)[..., None] - 1.0

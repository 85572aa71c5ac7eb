"""Performances of drawn phrases: swing, rubato, spread chords and dynamics, which piano rolls of steps do not hold.

Of each piece are drawn: how much off-beats are late, the depth of a slow wave of the tempo and one of the loudness, how
far the notes of a chord are apart. Each note also has a random deviation of a few milliseconds and of its velocity.
"""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from experiments.data import rolls
from experiments.data.display import Pictures
from experiments.data.roll_sets import SECONDS, Rolls, drawn_song
from scorekit.data.phrases import Note, random_phrase

_MOST_NOTES = 64
_WAVE = 8
"""Beats of the waves of tempo and loudness."""


def perform(notes: Sequence[Note], beat: float, seed: int) -> list[Note]:
    """Notes in time, whose beats last ``beat`` seconds, as someone may play them; sorted by onset and pitch.

    >>> score = [Note(60, 80, 0.0, 0.5), Note(64, 80, 0.0, 0.5)]
    >>> [note.pitch for note in perform(score, 0.5, 0)], perform(score, 0.5, 0) == score
    ([60, 64], False)
    """
    rng = np.random.default_rng((seed, 1))
    swing, depth, apart = rng.uniform(0.0, 0.16), rng.uniform(0.0, 0.1), rng.uniform(0.005, 0.025)
    phases, accent = rng.uniform(0.0, 2 * np.pi, size=2), rng.uniform(4.0, 12.0)
    wave = lambda beats, phase: np.sin(2 * np.pi * beats / _WAVE + phase)

    def played(seconds):
        beats, part = divmod(seconds / beat + 1e-9, 1.0)
        late = np.interp(part, [0.0, 0.5, 1.0], [0.0, 0.5 + swing, 1.0])
        return beat * (
            beats + late + depth * _WAVE / (2 * np.pi) * (wave(beats + late, phases[0]) - wave(0, phases[0]))
        )

    found: list[Note] = []
    in_order = sorted(notes, key=lambda note: (note.start, note.pitch))
    for onset, chord in itertools.groupby(in_order, key=lambda note: note.start):
        strong = (round(4 * onset / beat) % 4 == 0) - 0.5
        for below, note in enumerate(chord):
            delay = apart * below + rng.normal(0.0, 0.005)
            start = max(played(onset) + delay, 0.0)
            end = max(played(note.end) + delay, start + 0.03)
            loud = 75 + 0.4 * (note.velocity - 75) + accent * strong + 12 * wave(onset / beat, phases[1])
            velocity = int(np.clip(round(loud + rng.normal(0.0, 3.0)), 1, 127))
            found.append(Note(note.pitch, velocity, float(start), float(end)))
    after: dict[int, float] = {}
    for i in sorted(range(len(found)), key=lambda i: -found[i].start):  # a key is up before it is struck again
        note = found[i]
        found[i] = note._replace(end=min(note.end, after.get(note.pitch, note.end)))
        after[note.pitch] = note.start
    return sorted(found, key=lambda note: (note.start, note.pitch))


def performed_phrase(seed: int, seconds: float = SECONDS) -> list[Note]:
    """The performance of the phrase of a seed."""
    beat = 60.0 / np.random.default_rng(seed).integers(70, 131)  # the first draw of random_phrase
    return perform(random_phrase(seed, seconds), beat, seed)


def window(notes: Sequence[Note], first: float, seconds: float) -> list[Note]:
    """The notes from ``first`` on, cut to ``seconds``; what is held where the window begins, begins there."""
    cut = [(note, max(note.start - first, 0.0), min(note.end - first, seconds)) for note in notes]
    return [note._replace(start=start, end=end) for note, start, end in cut if start < min(end, seconds)]


class Performances(Rolls):
    """Performances of the phrases of :class:`Rolls`; an example is a window of 2.048 s, as a table of notes.

    Its rows are pitch, velocity, start and end, in seconds; those after the last note are 0.
    """

    name = "performances"
    codings = ("events",)
    seconds = 2.048
    drawn = staticmethod(lambda seed: drawn_song(seed)._replace(notes=tuple(performed_phrase(seed))))

    def _windows(self, songs, windows):
        music = [window(songs[i].notes, rolls.STEP * first, self.seconds) for i, first in windows]
        return {**super()._windows(songs, windows), "x": self.of_notes(music)}

    def to_notes(self, x):
        return [Note(int(row[0]), int(row[1]), float(row[2]), float(row[3])) for row in np.asarray(x) if row[1] > 0]

    def of_notes(self, music):
        found = np.zeros((len(music), _MOST_NOTES, 4), np.float32)
        for table, notes in zip(found, music, strict=True):
            few = np.asarray(notes[:_MOST_NOTES]).reshape(-1, 4)
            table[: len(few)] = few
        if cut := sum(len(notes) > _MOST_NOTES for notes in music):
            print(f"{cut} of {len(music)} pieces have more than {_MOST_NOTES} notes and are cut", flush=True)
        return found

    def to_model(self, x):
        return jnp.asarray(x)

    def view(self, samples):
        steps = round(self.seconds / rolls.STEP)
        states = [rolls.to_states(rolls.quantise(self.to_notes(x)), steps)[0] for x in samples]
        return Pictures(np.asarray(rolls.pictures(np.stack(states))))

"""Statistics of music in voices, their distances between two sets of pieces, and a Markov chain as a baseline."""

from collections.abc import Callable

import numpy as np

from experiments.data import rolls
from experiments.data.roll_sets import FIRST_TEST_SEED, WINDOW, drawn_song

BARS = range(29, 55)
"""Lags of the self-similarity in steps, 1.856 to 3.456 s: a bar of four beats at 129 to 69 a minute."""
_GROUPS = 10
_INTERVALS, _LENGTHS = 16, 24
"""Longest interval between onsets and longest note that have a bin of their own, in steps."""

_FIRST_SEED = FIRST_TEST_SEED + 10**6
"""The first seed of held-out phrases to compare with, none of the test set."""


def held_out(first: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Phrases that begin anywhere, as states ``(num, WINDOW, VOICES)``, and their keys."""
    songs = [drawn_song(_FIRST_SEED + first + i, 2 * WINDOW * rolls.STEP) for i in range(num)]
    starts = np.random.default_rng(first).integers(WINDOW, size=num)
    states = [song.states[at : at + WINDOW] for song, at in zip(songs, starts, strict=True)]
    return np.stack(states), np.array([song.key for song in songs])


def windows_of(states: np.ndarray, each: int) -> np.ndarray:
    """``each`` windows of every phrase ``(N, steps, VOICES)``, beginning anywhere as the held-out ones do."""
    starts = np.random.default_rng(0).integers(states.shape[1] - WINDOW + 1, size=(each, len(states)))
    return np.concatenate(
        [np.stack([x[at : at + WINDOW] for x, at in zip(states, row, strict=True)]) for row in starts]
    )


def measure(states: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics of one piece ``(steps, VOICES)``.

    Histograms sum to 1 where there are notes. Notes that are held at the beginning begin there.

    Returns:
      ``onsets`` per second; ``notes`` that sound on average; ``similarity``, the mean cosine of the pitch classes of
      frames a bar apart, which is the lag of :data:`BARS` where it is largest; histograms of ``pitch classes``,
      ``intervals`` between successive onsets, ``lengths`` of notes and ``polyphony``.

    >>> voice = np.tile(np.array([[1, 2, 5, 6]]).T, (20, 1)).repeat(5, axis=1) * np.array([1, 0, 0, 0, 0])
    >>> measured = measure(voice)
    >>> round(float(measured["onsets"]), 3), float(measured["notes"]), float(measured["similarity"])
    (7.812, 1.0, 1.0)
    """
    steps = len(states)
    played = rolls.to_played(states)
    sounding = np.zeros((steps, 12))
    count = np.zeros(steps, int)
    for note in played:
        sounding[note.first : note.last, note.pitch % 12] += 1
        count[note.first : note.last] += 1
    onsets = np.unique([note.first for note in played])
    return {
        "onsets": np.asarray(len(played) / (steps * rolls.STEP)),
        "notes": np.asarray(count.mean()),
        "similarity": np.asarray(max(_similarity(sounding, lag) for lag in BARS)),
        "pitch classes": _share(sounding.sum(axis=0)),
        "intervals": _histogram(np.diff(onsets), _INTERVALS),
        "lengths": _histogram(np.array([note.last - note.first for note in played]), _LENGTHS),
        "polyphony": _share(np.bincount(count, minlength=rolls.VOICES + 1)[: rolls.VOICES + 1]),
    }


def _similarity(sounding: np.ndarray, lag: int) -> float:
    """The mean cosine of frames ``(T, 12)`` that are ``lag`` apart and both not silent."""
    a, b = sounding[:-lag], sounding[lag:]
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both = norms > 0
    return float(np.mean(np.sum(a * b, axis=1)[both] / norms[both])) if both.any() else 0.0


def distances(pieces: np.ndarray, reference: np.ndarray) -> dict[str, tuple[float, float]]:
    """How far two sets of pieces ``(N, steps, VOICES)`` are apart in each statistic, with standard errors.

    Of numbers the difference of the means, of histograms the total variation of the mean histograms, which is above 0
    for two halves of one set as well. The errors are by the jackknife over ten groups of both sets.
    """
    ours, theirs = ([measure(piece) for piece in part] for part in (pieces, reference))
    apart = {}
    for name in ours[0]:
        a, b = (np.stack([each[name] for each in part]) for part in (ours, theirs))
        error = np.hypot(_error(a, lambda x, b=b: _apart(x, b)), _error(b, lambda x, a=a: _apart(a, x)))
        apart[name] = _apart(a, b), float(error)
    return apart


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    difference = a.mean(axis=0) - b.mean(axis=0)
    return float(difference if a.ndim == 1 else np.abs(difference).sum() / 2)


def _error(x: np.ndarray, statistic: Callable[[np.ndarray], float]) -> float:
    groups = min(_GROUPS, len(x))
    values = [statistic(x[np.arange(len(x)) % groups != i]) for i in range(groups)]
    return float(np.sqrt((groups - 1) * np.var(values)))


def _share(counts: np.ndarray) -> np.ndarray:
    return counts / max(counts.sum(), 1)


def _histogram(values: np.ndarray, most: int) -> np.ndarray:
    return _share(np.bincount(np.clip(values, 1, most), minlength=most + 1)[1:] if len(values) else np.zeros(most))


class Chain:
    """A Markov chain of the codes of each voice, ``p(c_t | c_{t-1}, voice)``, counted with ``smoothing`` added.

    Args:
      codes: ``(N, steps, VOICES)``.
      smoothing: added to every count.
    """

    def __init__(self, codes: np.ndarray, smoothing: float = 0.1):
        first = np.full((rolls.VOICES, rolls.NUM_CODES), smoothing)
        then = np.full((rolls.VOICES, rolls.NUM_CODES, rolls.NUM_CODES), smoothing)
        for voice in range(rolls.VOICES):
            np.add.at(first[voice], codes[:, 0, voice], 1)
            np.add.at(then[voice], (codes[:, :-1, voice].ravel(), codes[:, 1:, voice].ravel()), 1)
        self.first, self.then = (each / each.sum(axis=-1, keepdims=True) for each in (first, then))

    def bits(self, codes: np.ndarray) -> np.ndarray:
        """Exact bits per step of sequences ``(N, steps, VOICES)``, ``(N,)``."""
        voices = np.arange(rolls.VOICES)
        beginning = np.log2(self.first[voices, codes[:, 0]]).sum(axis=-1)
        rest = np.log2(self.then[voices, codes[:, :-1], codes[:, 1:]]).sum(axis=(1, 2))
        return -(beginning + rest) / codes.shape[1]

"""Keys of music: their names, and the key of some notes by the correlation of pitch classes with profiles."""

import re
from collections.abc import Iterable

import numpy as np

TONICS = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
KEYS = (*(f"{tonic} major" for tonic in TONICS), *(f"{tonic} minor" for tonic in TONICS))
"""Names by number: the pitch class of the tonic, 12 more of minor keys."""

_PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
"""How well each pitch class fits a major and a minor key, from the tonic upwards (Krumhansl & Kessler 1982)."""
_LETTERS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_NAME = re.compile(r"([A-Ga-g])([#♯b♭]?)[\s_-]*(major|maj|minor|min|m|)", re.IGNORECASE)


def key_of_notes(notes: Iterable[tuple[int, float]]) -> int:
    """The key of notes, by Krumhansl's profiles: ``argmax_k corr(h, profile of k)``.

    ``h`` is the time that each pitch class sounds.

    Args:
      notes: pairs of a MIDI pitch and a duration, in any unit.

    Returns:
      An index of :data:`KEYS`; 0 without notes.

    >>> KEYS[key_of_notes([(62, 2.0), (66, 1.0), (69, 1.0), (73, 0.5), (67, 0.5), (64, 0.5), (71, 0.5)])]
    'D major'
    """
    heard = np.zeros(12)
    for pitch, duration in notes:
        heard[pitch % 12] += duration
    if not heard.any():
        return 0
    profiles = np.array([np.roll(profile, tonic) for profile in _PROFILES for tonic in range(12)])
    profiles -= profiles.mean(axis=1, keepdims=True)
    return int(np.argmax(profiles @ heard / np.linalg.norm(profiles, axis=1)))


def parse_key(name: str) -> int:
    """The number of a key from its name, such as ``"F# minor"``, ``"Bb"``, ``"am"`` or ``"E♭ major"``.

    Raises:
      ValueError: for another name.

    >>> [KEYS[parse_key(name)] for name in ("F# minor", "Bb", "Am", "EB MINOR", "B♭ maj")]
    ['F♯ minor', 'B♭ major', 'A minor', 'E♭ minor', 'B♭ major']
    """
    match = _NAME.fullmatch(name.strip())
    if match is None:
        raise ValueError(f"must be a key such as C, F# minor or Bbm, got {name!r}")
    letter, accidental, mode = match.groups()
    tonic = _LETTERS[letter.lower()] + {"": 0, "#": 1, "♯": 1}.get(accidental, -1)
    return tonic % 12 + 12 * (mode == "m" or mode.lower() in ("minor", "min"))

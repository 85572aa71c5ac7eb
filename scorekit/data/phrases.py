"""Short polyphonic phrases with their piano roll, drawn from a seed and rendered from General MIDI instruments.

Importing this module registers the TFDS builder ``soundfont_phrases`` with the configs ``4khz``, ``8khz`` and
``16khz``. About the font and its licence see :mod:`scorekit.data.notes`.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from scorekit.data.notes import PEAK, audio_feature, instrument_names, to_int16
from scorekit.data.soundfont import SoundFont, read_soundfont
from scorekit.data.synthesis import render_note

SECONDS = 4.096
FRAME_RATE = 62.5
"""Frames of the piano roll to a second: one in 16 ms."""
RELEASE = 1.0
"""Longest rendered release of a note, in seconds."""
PROGRAMS = (0, 4, 11, 16, 24, 40, 48, 56, 71, 73)
"""Piano, electric piano, vibraphone, organ, guitar, violin, strings, trumpet, clarinet and flute."""

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
_CHORDS = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0), (5, 3, 0, 4), (0, 1, 4, 0))

_DESCRIPTION = """\
Phrases of 4.096 s for one instrument, drawn from a seed: a progression of four chords in a major or minor key, a bass
and a melody over it, at 70 to 130 beats a minute, rendered from the sampled instruments of the SoundFont TimGM6mb.
``roll`` holds, for each frame of 16 ms and each MIDI pitch, the velocity of the key that is down, or 0.
"""


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


def random_phrase(seed: int, seconds: float = SECONDS) -> list[Note]:
    """A phrase in a key, with chords, a bass and a melody; the same for the same seed.

    Args:
      seed: non-negative.
      seconds: length; the last onset is at least 0.1 s before the end.

    Returns:
      Notes sorted by onset, pitches from 36 to 84; notes of one pitch do not overlap.

    Raises:
      ValueError: if ``seed`` is negative or ``seconds`` not positive.

    >>> notes = random_phrase(0)
    >>> len(notes) > 10, random_phrase(0) == notes, random_phrase(1) == notes
    (True, True, False)
    """
    if seed < 0 or not 0 < seconds < np.inf:
        raise ValueError(f"seed must be >= 0 and seconds finite and > 0, got {seed} and {seconds}")
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


def piano_roll(notes: Sequence[Note], frames: int, frame_rate: float = FRAME_RATE) -> np.ndarray:
    """The piano roll of notes: the active keys at the times ``frame / frame_rate``.

    With ``frame_rate = sample_rate / hop`` its rows are the frames of :func:`scorekit.audio.stft.stft`.

    Args:
      notes: for example from :func:`random_phrase`.
      frames: the number of rows ``T``.
      frame_rate: in Hz.

    Returns:
      uint8 ``(T, 128)``: velocities, 0 for inactive keys. Every note is active in at least one row, the one nearest to
      its onset.

    >>> roll = piano_roll([Note(60, 100, 0.0, 0.03)], 3)
    >>> roll[:, 60].tolist()
    [100, 100, 0]
    """
    roll = np.zeros((frames, 128), np.uint8)
    for note in notes:
        first = round(note.start * frame_rate)
        last = max(round(note.end * frame_rate), first + 1)
        roll[first:last, note.pitch] = note.velocity
    return roll


def render_phrase(
    font: SoundFont, program: int, notes: Sequence[Note], *, sample_rate: float, seconds: float = SECONDS
) -> np.ndarray:
    """Renders a phrase; onsets are rounded to the nearest sample.

    Args:
      font: from :func:`scorekit.data.soundfont.read_soundfont`.
      program: the instrument.
      notes: of the phrase.
      sample_rate: in Hz.
      seconds: the length of the result.

    Returns:
      float32 ``(round(seconds * sample_rate),)`` with its peak at 0.9, or silence.

    >>> sound = render_phrase(read_soundfont(), 0, [Note(60, 100, 0.1, 0.5)], sample_rate=4000, seconds=1.0)
    >>> sound.shape, bool(np.all(sound[:396] == 0)), round(float(np.abs(sound).max()), 3)
    ((4000,), True, 0.9)
    """
    out = np.zeros(round(seconds * sample_rate), np.float32)
    for note in notes:
        first = round(note.start * sample_rate)
        held = note.end - note.start
        rest = min(held + RELEASE, (len(out) - first) / sample_rate)
        if round(rest * sample_rate) > 0:
            sound = render_note(
                font, program, note.pitch, note.velocity, sample_rate=sample_rate, held=held, seconds=rest
            )
            out[first : first + len(sound)] += sound
    peak = np.max(np.abs(out), initial=0.0)
    return out * np.float32(PEAK / peak) if peak > 0 else out


@dataclasses.dataclass(kw_only=True)
class PhrasesConfig(tfds.core.BuilderConfig):
    """Configuration of the rendered phrases.

    Attributes:
      sample_rate: in Hz.
      train, test: the number of phrases of each split.
      programs: the instruments, assigned cyclically.
      soundfont: the path of an ``.sf2`` file; ``None`` is TimGM6mb.
    """

    sample_rate: int
    train: int = 1000
    test: int = 100
    programs: Sequence[int] = PROGRAMS
    soundfont: str | None = None


class SoundfontPhrases(tfds.core.GeneratorBasedBuilder):
    """The ``soundfont_phrases`` data set: ``audio`` int16 ``(length,)``, ``roll`` uint8 ``(T, 128)``, the notes."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        PhrasesConfig(name=f"{rate // 1000}khz", description=f"{rate} samples a second.", sample_rate=rate)
        for rate in (4000, 8000, 16000)
    ]

    def _info(self):
        config: Any = self.builder_config
        note = {"pitch": np.int32, "velocity": np.int32, "start": np.float32, "end": np.float32}
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "audio": audio_feature(SECONDS, config.sample_rate),
                    "roll": tfds.features.Tensor(shape=(_FRAMES, 128), dtype=np.uint8, encoding="zlib"),
                    "instrument": tfds.features.ClassLabel(names=instrument_names()[0]),
                    "notes": tfds.features.Sequence(note),
                }
            ),
            homepage="https://pypi.org/project/pretty-midi/",
            license="rendered from a SoundFont under the GNU GPL 2",
            metadata=tfds.core.MetadataDict(sample_rate=config.sample_rate, frame_rate=FRAME_RATE),
        )

    def _split_generators(self, dl_manager):
        config: Any = self.builder_config
        return {
            "train": self._generate_examples(range(config.train)),
            "test": self._generate_examples(range(_FIRST_TEST_SEED, _FIRST_TEST_SEED + config.test)),
        }

    def _generate_examples(self, seeds):
        config: Any = self.builder_config
        font = read_soundfont(config.soundfont)
        for seed in seeds:
            notes, program = random_phrase(seed), config.programs[seed % len(config.programs)]
            yield (
                seed,
                {
                    "audio": to_int16(render_phrase(font, program, notes, sample_rate=config.sample_rate)),
                    "roll": piano_roll(notes, _FRAMES),
                    "instrument": program,
                    "notes": [note._asdict() for note in notes],
                },
            )


_FRAMES = 1 + round(SECONDS * FRAME_RATE)
_FIRST_TEST_SEED = 10**9

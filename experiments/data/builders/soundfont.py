"""Notes and phrases of General MIDI instruments as TensorFlow Datasets builders, rendered without a download.

Importing this module registers the builders under the TFDS names ``soundfont_notes`` and ``soundfont_phrases``, each
with the configs ``4khz``, ``8khz`` and ``16khz``. The phrases are those of :mod:`scorekit.data.phrases`.

The recordings are from the font TimGM6mb (GNU GPL 2), which pip installs with pretty_midi. The sets are rendered from
it on the user's machine; neither the font nor the sets are part of scorekit.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from scorekit import audio
from scorekit.data import phrases
from scorekit.data.soundfont import read_soundfont
from scorekit.data.synthesis import render_note

SECONDS = 1.024
"""The length of a note: a power of two of samples at 4, 8 and 16 kHz."""
HELD = 0.75
"""Time from key press to key release, in seconds."""
PEAK = 0.9
"""The peak of a note of velocity 127."""
_FRAMES = 1 + round(phrases.SECONDS * phrases.FRAME_RATE)
_FIRST_TEST_SEED = 10**9

_NOTES = """\
Notes of the instruments 0 to 111 of General MIDI, rendered from the sampled instruments of the SoundFont TimGM6mb:
1.024 s, the key held for 0.75 s, pitches 36 to 84 (C2 to C6), velocities 50, 90 and 127, 16-bit mono. A note of
velocity 127 peaks at 0.9 of full scale and softer ones in proportion to the square of their velocity. Test holds an
eighth of the pitches of each instrument, at all their velocities; train the rest.
"""
_PHRASES = """\
Phrases of 4.096 s for one instrument, drawn from a seed: a progression of four chords in a major or minor key, a bass
and a melody over it, at 70 to 130 beats a minute, rendered from the sampled instruments of the SoundFont TimGM6mb.
``roll`` holds, for each frame of 16 ms and each MIDI pitch, the velocity of the key that is down, or 0.
"""
_CITATION = """\
@misc{timgm6mb,
  author = {Brechbill, Tim},
  title  = {TimGM6mb, a General MIDI SoundFont},
  note   = {GNU GPL 2; packaged with pretty\\_midi}
}
"""


@dataclasses.dataclass(kw_only=True)
class NotesConfig(tfds.core.BuilderConfig):
    """Configuration of the rendered notes; programs from 112 on are percussion and noises."""

    sample_rate: int
    programs: Sequence[int] = range(112)
    pitches: Sequence[int] = range(36, 85)
    velocities: Sequence[int] = (50, 90, 127)


@dataclasses.dataclass(kw_only=True)
class PhrasesConfig(tfds.core.BuilderConfig):
    """Configuration of the rendered phrases: their number in each split, and instruments, assigned cyclically."""

    sample_rate: int
    programs: Sequence[int] = phrases.PROGRAMS
    train: int = 1000
    test: int = 100


def _of_rates(kind: type) -> list[Any]:
    described = lambda rate: {"name": f"{rate // 1000}khz", "description": f"{rate} samples a second."}
    return [kind(sample_rate=rate, **described(rate)) for rate in (4000, 8000, 16000)]


def _info(builder: Any, description: str, seconds: float, features: dict[str, Any], **metadata: Any) -> Any:
    """What both sets have: 16-bit sounds of one length, stored as bytes, which are read five times faster."""
    rate = builder.builder_config.sample_rate
    sound = tfds.features.Tensor(shape=(round(seconds * rate),), dtype=np.int16, encoding="bytes")
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        features=tfds.features.FeaturesDict({"audio": sound, **features}),
        homepage="https://pypi.org/project/pretty-midi/",
        citation=_CITATION,
        license="rendered from a SoundFont under the GNU GPL 2",
        metadata=tfds.core.MetadataDict(sample_rate=rate, **metadata),
    )


class SoundfontNotes(tfds.core.GeneratorBasedBuilder):
    """The ``soundfont_notes`` data set: ``audio`` int16 ``(length,)``, ``pitch``, ``velocity`` and ``instrument``."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = _of_rates(NotesConfig)

    def _info(self):
        instruments, families = instrument_names()
        label = tfds.features.ClassLabel
        kinds = {"label": label(names=instruments), "family": label(names=families)}
        features = {"pitch": label(num_classes=128), "velocity": label(num_classes=128), "instrument": kinds}
        return _info(self, _NOTES, SECONDS, features)

    def _split_generators(self, dl_manager):
        config: Any = self.builder_config
        pairs = [(program, pitch) for program in config.programs for pitch in config.pitches]
        return {
            "train": self._generate_examples([pair for pair in pairs if not is_test(*pair)]),
            "test": self._generate_examples([pair for pair in pairs if is_test(*pair)]),
        }

    def _generate_examples(self, pairs):
        config: Any = self.builder_config
        timing: dict[str, Any] = {"sample_rate": config.sample_rate, "held": HELD, "seconds": SECONDS}
        font = read_soundfont()
        for program, pitch in pairs:
            velocities = {*config.velocities, 127}
            sounds = {velocity: render_note(font, program, pitch, velocity, **timing) for velocity in velocities}
            peak = np.max(np.abs(sounds[127]))
            if peak < 1e-4:
                continue  # the instrument has no such key
            for velocity in config.velocities:
                yield (
                    f"{program:03}-{pitch:03}-{velocity:03}",
                    {
                        "audio": np.asarray(audio.float_to_pcm(sounds[velocity] * (PEAK / peak)), np.int16),
                        "pitch": pitch,
                        "velocity": velocity,
                        "instrument": {"label": program, "family": program // 8},
                    },
                )


class SoundfontPhrases(tfds.core.GeneratorBasedBuilder):
    """The ``soundfont_phrases`` data set: ``audio`` int16 ``(length,)``, ``roll`` uint8 ``(T, 128)``, the notes."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = _of_rates(PhrasesConfig)

    def _info(self):
        note = {"pitch": np.int32, "velocity": np.int32, "start": np.float32, "end": np.float32}
        features = {
            "roll": tfds.features.Tensor(shape=(_FRAMES, 128), dtype=np.uint8, encoding="zlib"),
            "instrument": tfds.features.ClassLabel(names=instrument_names()[0]),
            "notes": tfds.features.Sequence(note),
        }
        return _info(self, _PHRASES, phrases.SECONDS, features, frame_rate=phrases.FRAME_RATE)

    def _split_generators(self, dl_manager):
        config: Any = self.builder_config
        return {
            "train": self._generate_examples(range(config.train)),
            "test": self._generate_examples(range(_FIRST_TEST_SEED, _FIRST_TEST_SEED + config.test)),
        }

    def _generate_examples(self, seeds):
        config: Any = self.builder_config
        font = read_soundfont()
        for seed in seeds:
            notes, program = phrases.random_phrase(seed), config.programs[seed % len(config.programs)]
            sound = phrases.render_phrase(font, program, notes, sample_rate=config.sample_rate)
            yield (
                seed,
                {
                    "audio": np.asarray(audio.float_to_pcm(sound), np.int16),
                    "roll": phrases.piano_roll(notes, _FRAMES),
                    "instrument": program,
                    "notes": [note._asdict() for note in notes],
                },
            )


def is_test(program: int, pitch: int) -> bool:
    """Whether notes of this program and pitch are test notes: every eighth pitch, at an offset that varies by program.

    All velocities of a pitch are in the same split, since they are nearly the same sound.
    """
    return (pitch + 3 * program) % 8 == 0


def instrument_names() -> tuple[list[str], list[str]]:
    """The 128 instruments and 16 families of General MIDI; instrument ``i`` is of family ``i // 8``."""
    try:
        from pretty_midi.constants import INSTRUMENT_CLASSES, INSTRUMENT_MAP
    except ImportError as error:
        raise ImportError("rendering needs pretty_midi, soxr and soundfile: pip install 'scorekit[audio]'") from error
    return list(INSTRUMENT_MAP), list(INSTRUMENT_CLASSES)

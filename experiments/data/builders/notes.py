"""Single notes of General MIDI instruments as a TensorFlow Datasets builder, rendered without a download.

Importing this module registers the builder under the TFDS name ``soundfont_notes``, with the configs ``4khz``, ``8khz``
and ``16khz``. The features are named as in TFDS's ``nsynth``.

The recordings are from the font TimGM6mb (GNU GPL 2), which pip installs with pretty_midi. The set is rendered from
it on the user's machine; neither the font nor the set is part of scorekit.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from scorekit import audio
from scorekit.data.soundfont import read_soundfont
from scorekit.data.synthesis import render_note

SECONDS = 1.024
"""The length of a note: a power of two of samples at 4, 8 and 16 kHz."""
HELD = 0.75
"""Time from key press to key release, in seconds."""
PEAK = 0.9
"""The peak of a note of velocity 127."""

_DESCRIPTION = """\
Notes of the instruments 0 to 111 of General MIDI, rendered from the sampled instruments of the SoundFont TimGM6mb:
1.024 s, the key held for 0.75 s, pitches 36 to 84 (C2 to C6), velocities 50, 90 and 127, 16-bit mono. A note of
velocity 127 peaks at 0.9 of full scale and softer ones in proportion to the square of their velocity. Test holds an
eighth of the pitches of each instrument, at all their velocities; train the rest.
"""

_CITATION = """\
@misc{timgm6mb,
  author = {Brechbill, Tim},
  title  = {TimGM6mb, a General MIDI SoundFont},
  note   = {GNU GPL 2; packaged with pretty\\_midi}
}
"""


def audio_feature(seconds: float, sample_rate: int):
    """A feature of 16-bit sound of a fixed length, stored as bytes: reading is five times faster than of integers."""
    return tfds.features.Tensor(shape=(round(seconds * sample_rate),), dtype=np.int16, encoding="bytes")


@dataclasses.dataclass(kw_only=True)
class NotesConfig(tfds.core.BuilderConfig):
    """Configuration of the rendered notes; programs from 112 on are percussion and noises."""

    sample_rate: int
    programs: Sequence[int] = range(112)
    pitches: Sequence[int] = range(36, 85)
    velocities: Sequence[int] = (50, 90, 127)
    soundfont: str | None = None


class SoundfontNotes(tfds.core.GeneratorBasedBuilder):
    """The ``soundfont_notes`` data set: ``audio`` int16 ``(length,)``, ``pitch``, ``velocity`` and ``instrument``."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        NotesConfig(name=f"{rate // 1000}khz", description=f"{rate} samples a second.", sample_rate=rate)
        for rate in (4000, 8000, 16000)
    ]

    def _info(self):
        config: Any = self.builder_config
        instruments, families = instrument_names()
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "audio": audio_feature(SECONDS, config.sample_rate),
                    "pitch": tfds.features.ClassLabel(num_classes=128),
                    "velocity": tfds.features.ClassLabel(num_classes=128),
                    "instrument": {
                        "label": tfds.features.ClassLabel(names=instruments),
                        "family": tfds.features.ClassLabel(names=families),
                    },
                }
            ),
            supervised_keys=("audio", "pitch"),
            homepage="https://pypi.org/project/pretty-midi/",
            citation=_CITATION,
            license="rendered from a SoundFont under the GNU GPL 2",
            metadata=tfds.core.MetadataDict(sample_rate=config.sample_rate),
        )

    def _split_generators(self, dl_manager):
        config: Any = self.builder_config
        pairs = [(program, pitch) for program in config.programs for pitch in config.pitches]
        return {
            "train": self._generate_examples([pair for pair in pairs if not is_test(*pair)]),
            "test": self._generate_examples([pair for pair in pairs if is_test(*pair)]),
        }

    def _generate_examples(self, pairs) -> Iterator[tuple[str, dict]]:
        config: Any = self.builder_config
        font = read_soundfont(config.soundfont)
        for program, pitch in pairs:
            sounds = {
                velocity: render_note(
                    font, program, pitch, velocity, sample_rate=config.sample_rate, held=HELD, seconds=SECONDS
                )
                for velocity in {*config.velocities, 127}
            }
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

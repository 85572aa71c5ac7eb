"""The phrases of :mod:`scorekit.data.phrases` as a TensorFlow Datasets builder.

Importing this module registers the builder under the TFDS name ``soundfont_phrases``, with the configs ``4khz``,
``8khz`` and ``16khz``.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.builders.notes import audio_feature, instrument_names
from scorekit import audio
from scorekit.data.phrases import FRAME_RATE, PROGRAMS, SECONDS, piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont

_FRAMES = 1 + round(SECONDS * FRAME_RATE)
_FIRST_TEST_SEED = 10**9

_DESCRIPTION = """\
Phrases of 4.096 s for one instrument, drawn from a seed: a progression of four chords in a major or minor key, a bass
and a melody over it, at 70 to 130 beats a minute, rendered from the sampled instruments of the SoundFont TimGM6mb.
``roll`` holds, for each frame of 16 ms and each MIDI pitch, the velocity of the key that is down, or 0.
"""


@dataclasses.dataclass(kw_only=True)
class PhrasesConfig(tfds.core.BuilderConfig):
    """Configuration of the rendered phrases: their number in each split, and instruments, assigned cyclically."""

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
            sound = render_phrase(font, program, notes, sample_rate=config.sample_rate)
            yield (
                seed,
                {
                    "audio": np.asarray(audio.float_to_pcm(sound), np.int16),
                    "roll": piano_roll(notes, _FRAMES),
                    "instrument": program,
                    "notes": [note._asdict() for note in notes],
                },
            )

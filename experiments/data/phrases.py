"""Phrases of notes, with their piano roll."""

from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp
import numpy as np

from experiments.cli.fields import Text
from experiments.data.builders import sets
from experiments.data.sounds import Key, Sounds, SoundSet, check_keys, windows
from scorekit import audio
from scorekit.arguments import Count


def piano_roll(lowest: Key = 36, highest: Key = 84):
    """A dense map: the keys that are down in each frame, ``velocity / 127`` of each, ``(B, T, pitches)``.

    Args:
      lowest, highest: keys of the map, as MIDI numbers.
    """
    check_keys(lowest, highest)
    return lambda batch: jnp.asarray(batch["roll"], jnp.float32)[..., lowest : highest + 1] / 127.0


def tones(dataset: Sounds, count: Annotated[int, Count(1, 64)] = 3, lowest: Key = 36, highest: Key = 84):
    """A dense map: the roll as partials, ``(B, L, 2 count)``; see :func:`scorekit.audio.harmonic_tones`.

    Args:
      count: number of partials.
      lowest, highest: keys of the roll, as MIDI numbers.
    """
    check_keys(lowest, highest)
    return lambda batch: audio.harmonic_tones(
        jnp.asarray(batch["roll"]), np.shape(batch["raw"])[1], dataset.sample_rate, count, lowest, highest
    )


@dataclass(kw_only=True, eq=False)
class Phrases(SoundSet):
    """Phrases with their piano roll; a crop begins at a frame of the roll, which is cropped with it.

    Args:
      set: the TFDS name: ``soundfont_phrases/4khz``, ``/8khz`` or ``/16khz``.
    """

    maps = (*SoundSet.maps, "piano_roll", "tones")
    from_fields = ("piano_roll",)
    fields = ("roll",)

    set: Annotated[str, Text("the TFDS name of a set of phrases")] = "soundfont_phrases/4khz"

    def load(self, split):
        return sets.load_phrases(self.set, split, self.data_dir)

    def crops(self, part, first):
        return {**super().crops(part, first), "roll": windows(part["roll"], first, self.length // self._hop + 1)}

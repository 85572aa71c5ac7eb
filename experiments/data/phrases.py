"""Phrases of notes, with their piano roll."""

from typing import Annotated

import jax.numpy as jnp
import numpy as np

from experiments.data.builders import sets
from experiments.data.dataset import rows_of
from experiments.data.sounds import Key, Sounds, check_keys
from scorekit import audio
from scorekit.arguments import Count


def piano_roll(lowest: Key = 36, highest: Key = 84):
    """A dense map: the keys that are down in each frame, ``velocity / 127`` of each, ``(B, T, pitches)``."""
    check_keys(lowest, highest)
    return lambda batch: jnp.asarray(batch["roll"], jnp.float32)[..., lowest : highest + 1] / 127.0


def tones(dataset: Sounds, count: Annotated[int, Count(1, 64)] = 3, lowest: Key = 36, highest: Key = 84):
    """A dense map: the roll as partials, ``(B, L, 2 count)``; see :func:`scorekit.audio.harmonic_tones`.

    Args:
      count: number of partials.
    """
    check_keys(lowest, highest)
    return lambda batch: audio.harmonic_tones(
        jnp.asarray(batch["roll"]), np.shape(batch["raw"])[1], dataset.sample_rate, count, lowest, highest
    )


class Phrases(Sounds):
    """Phrases with their piano roll; a crop begins at a frame of the roll, which is cropped with it."""

    maps = (*Sounds.maps, "piano_roll", "tones")
    from_fields = ("piano_roll",)
    fields = ("roll",)
    labels = ("instrument", "none")

    @staticmethod
    def load(*args):
        return sets.load_phrases(*args)

    def hop(self, loaded):
        return round(loaded.sample_rate / loaded.frame_rate)

    def cropped_fields(self, part, first, frames):
        at = first[:, None] + np.arange(frames + 1)
        return {**rows_of(part, slice(None)), "roll": np.take_along_axis(part["roll"], at[..., None], axis=1)}

"""Single notes of instruments."""

from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp

from experiments.cli.fields import Text
from experiments.data.builders import sets
from experiments.data.sounds import Key, Sounds, SoundSet, check_keys
from scorekit import audio
from scorekit.arguments import OneOf


def pitch_velocity(lowest: Key = 36, highest: Key = 84):
    """A vector: the pitch, one-hot from ``lowest`` to ``highest``, and ``log2(velocity / 127)``.

    A pitch outside the range is all zeros.

    Args:
      lowest, highest: keys of the vector, as MIDI numbers.
    """
    check_keys(lowest, highest)
    return lambda batch: audio.pitch_velocity_features(batch["pitch"], batch["velocity"], lowest, highest)


def pulses(dataset: Sounds):
    """A dense map: a train of pulses at the pitch, a sound without timbre, as the network receives sounds."""

    def train(batch):
        sound = audio.pulse_train(jnp.asarray(batch["pitch"]), jnp.shape(batch["raw"])[1], dataset.sample_rate)
        return dataset.inputs({"x": audio.float_to_pcm(sound), "pitch": jnp.asarray(batch["pitch"])})

    return train


@dataclass(kw_only=True, eq=False)
class Notes(SoundSet):
    """Notes with ``pitch``, ``velocity``, ``instrument`` and ``family``.

    Args:
      set: the TFDS name: ``soundfont_notes/4khz``, ``/8khz`` or ``/16khz``.
      label: "instrument", "family", or "none" for a single class.
    """

    maps = (*SoundSet.maps, "pulses")
    vectors = ("moments", "pitch_velocity")
    from_fields = ("pitch_velocity",)
    fields = ("pitch", "velocity", "instrument", "family")

    set: Annotated[str, Text("the TFDS name of a set of notes")] = "soundfont_notes/4khz"
    label: Annotated[str, OneOf("instrument", "family", "none")] = "instrument"

    def load(self, split):
        return sets.load_notes(self.set, split, self.data_dir)

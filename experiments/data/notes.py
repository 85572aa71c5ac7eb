"""Single notes of instruments."""

import jax.numpy as jnp

from experiments.data.builders import sets
from experiments.data.sounds import Key, Sounds, check_keys
from scorekit import audio


def pitch_velocity(lowest: Key = 36, highest: Key = 84):
    """A vector: the pitch, one-hot from ``lowest`` to ``highest``, and ``log2(velocity / 127)``.

    A pitch outside the range is all zeros.
    """
    check_keys(lowest, highest)
    return lambda batch: audio.pitch_velocity_features(batch["pitch"], batch["velocity"], lowest, highest)


def pulses(dataset: Sounds):
    """A dense map: a train of pulses at the pitch, a sound without timbre, as the network receives sounds."""

    def train(batch):
        sound = audio.pulse_train(jnp.asarray(batch["pitch"]), jnp.shape(batch["raw"])[1], dataset.sample_rate)
        return dataset.inputs({"x": audio.float_to_pcm(sound), "pitch": jnp.asarray(batch["pitch"])})

    return train


class Notes(Sounds):
    """Notes with ``pitch``, ``velocity``, ``instrument`` and ``family``; the class is the instrument by default.

    ``instruments`` are the names of the instruments, where the set has them.
    """

    maps = (*Sounds.maps, "pulses")
    vectors = ("moments", "pitch_velocity")
    from_fields = ("pitch_velocity",)
    fields = ("pitch", "velocity", "instrument", "family")
    labels = ("instrument", "family", "none")
    instruments: tuple[str, ...] = ()

    @staticmethod
    def load(*args):
        return sets.load_notes(*args)

    def hop(self, loaded):
        self.instruments = loaded.instruments
        return 1

"""Notes and phrases of TFDS: labelled sounds in memory, and the conditions that their pitches and rolls are."""

import functools
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import require
from experiments.cli.fields import Text
from experiments.data.builders import DATA_DIR, sets
from experiments.data.dataset import Batch
from experiments.data.sounds import Sounds, normalised
from scorekit import audio, data
from scorekit.arguments import Count, OneOf

Key: TypeAlias = Annotated[int, Count(0, 127)]


def check_keys(lowest: int, highest: int) -> None:
    """Raises a ``ValueError`` unless there are keys from ``lowest`` to ``highest``."""
    if lowest > highest:
        raise ValueError(f"lowest must be at most highest = {highest}, got {lowest}")


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
class SoundSet(Sounds):
    """Sounds from TFDS, held in memory; a subclass says which.

    An example is a random crop of a sound, drawn from ``(seed, step)``; in the test set it is the beginning.

    Args:
      set: the TFDS name.
      data_dir: folder of TFDS.
      label: "instrument", or "none" for a single class.
      crop: samples of an example; None is the full sound.

    Attributes:
      instruments: names of the instruments, where the set has them.
    """

    set: Annotated[str, Text("the TFDS name of a set of sounds")]
    data_dir: Annotated[str, Text("a folder")] = DATA_DIR
    label: Annotated[str, OneOf("instrument", "none")] = "instrument"
    crop: Annotated[int, Count(1)] | None = None

    def load(self, split: str) -> sets.LabelledSounds:
        """The sounds of a split."""
        raise NotImplementedError

    def __post_init__(self):
        self._sets = train, _ = self.load(self.train_split), self.load(self.test_split)
        self.name, self.examples, self.instruments = train.name, len(train.x), train.instruments
        self.num_classes = 1 + max(int(self._classes(part).max()) for part in self._sets)
        names = {"instrument": train.instruments, "family": train.families}.get(self.label, ())
        self.class_names = names[: self.num_classes]
        self._hop = 1 if train.frame_rate is None else round(train.sample_rate / train.frame_rate)
        full = train.x.shape[1]
        length = full if self.crop is None else self.crop
        fits = length <= full and length % self._hop == 0
        require(fits, "data.crop", self.crop, f"a multiple of {self._hop} up to {full}")
        self.represent(length, train.sample_rate)

    def _classes(self, part: sets.LabelledSounds) -> np.ndarray:
        return np.zeros(len(part.x), np.int32) if self.label == "none" else getattr(part, self.label)

    @functools.cached_property
    def _full(self) -> tuple[Batch, Batch]:
        """Both sets before they are cropped."""
        sounds = lambda x: x if self.peak is None else normalised(x, self.peak)
        train, test = (
            {"x": sounds(s.x), "label": self._classes(s), **{name: getattr(s, name) for name in self.fields}}
            for s in self._sets
        )
        return train, test

    def read(self, part):
        """The beginnings of the sounds."""
        return self.crops(self._full[part], np.zeros(len(self._sets[part].x), int))

    def crops(self, part: Batch, first: np.ndarray) -> Batch:
        """The examples that begin at positions ``first`` of sounds."""
        full = self.length == part["x"].shape[1]
        return part if full else {**part, "x": windows(part["x"], self._hop * first, self.length)}

    def batch(self, seed, step, size):
        part = data.batch_at(self._full[0], seed=seed, step=step, batch_size=size)
        positions = (part["x"].shape[1] - self.length) // self._hop + 1
        return self.crops(part, np.random.default_rng((seed, step)).integers(positions, size=size))


def windows(x: np.ndarray, first: np.ndarray, size: int) -> np.ndarray:
    """So many entries of each row of ``(N, L, ...)``, from ``first`` ``(N,)`` on."""
    return x[np.arange(len(x))[:, None], first[:, None] + np.arange(size)]


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

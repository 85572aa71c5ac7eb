"""Common parts of all sounds: 16-bit codes, crops, a representation for the network, and maps of any sound.

Args:
  cutoff: frequency at which the gain is 1/2, in cycles per sample.
  f_min: the lowest frequency, in Hz.
  factor: ratio of the sample rates.
  fft_size: samples of a frame.
  hop: samples between frames.
  num_mels: number of mel bands.
  radius: samples of the filter on either side.
  scale: factor of the samples.
"""

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import require
from experiments.cli.fields import Text
from experiments.data.dataset import Batch, Dataset, keep_not_finite, rows_of, zero_not_finite
from experiments.data.display import FrequencyAxis, Preview
from experiments.data.display import Sounds as SoundsView
from experiments.data.representation import REPRESENTATIONS, axes_of, build_representation
from scorekit import audio, data
from scorekit.arguments import Between, Count, OneOf, Positive, PositiveInt
from scorekit.guidance import operators

Key: TypeAlias = Annotated[int, Count(0, 127)]
_FftSize: TypeAlias = Annotated[int, Count(2, 2**20)]
_Hop: TypeAlias = Annotated[int, Count(1, 2**20)]
_Size: TypeAlias = Annotated[int, Count(1, 2**16)]
_Cutoff: TypeAlias = Annotated[float, Between(0, 0.5, "both")]
_Frequency: TypeAlias = Annotated[float, Between(0)]
Map: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""A function from a batch to a dense map."""
SILENCE = 1e-3
"""Sounds whose root mean square is below this have no spectral loss, which is a ratio to the reference."""


def log_mel(
    dataset: "Sounds", num_mels: _Size = 40, fft_size: _FftSize = 256, hop: _Hop = 64, f_min: _Frequency = 40.0
) -> Map:
    """A dense map: the log-mel spectrogram; see :class:`scorekit.audio.LogMel`."""
    features = audio.make_log_mel(dataset.sample_rate, num_mels, fft_size, hop, f_min)
    return lambda batch: features.encode(audio.pcm_to_float(jnp.asarray(batch["raw"])))


def mel_magnitudes(
    dataset: "Sounds", num_mels: _Size = 40, fft_size: _FftSize = 256, hop: _Hop = 64, f_min: _Frequency = 40.0
) -> Map:
    """The log-mel spectrogram as two images ``(B, L / hop, fft_size / 2, 2)``: envelope and nearest magnitudes."""
    features = audio.make_log_mel(dataset.sample_rate, num_mels, fft_size, hop, f_min)
    return lambda batch: features.images(features.encode(audio.pcm_to_float(jnp.asarray(batch["raw"]))))


def low_rate(dataset: "Sounds", factor: PositiveInt = 4, scale: Positive = 1.0) -> Map:
    """A dense map: the samples times ``scale`` at ``1 / factor`` of the sample rate, ``(B, L / factor, 1)``."""
    del dataset
    return lambda batch: scale * audio.low_rate(audio.pcm_to_float(jnp.asarray(batch["raw"])), factor)[..., None]


def low_passed(dataset: "Sounds", cutoff: _Cutoff = 0.125, radius: _Size = 32) -> Map:
    """A dense map: the sound without its high frequencies, as the network receives sounds."""
    kernel = jnp.asarray(operators.low_pass_kernel(cutoff, radius), jnp.float32)
    blur = operators.blur(kernel, "zero")
    return lambda batch: blur(dataset.to_model(jnp.asarray(batch["raw"])))


def check_keys(lowest: int, highest: int) -> None:
    """Raises a ``ValueError`` unless there are keys from ``lowest`` to ``highest``."""
    if lowest > highest:
        raise ValueError(f"lowest must be at most highest = {highest}, got {lowest}")


@dataclass(kw_only=True, eq=False)
class Sounds(Dataset):
    """Sounds as 16-bit codes; a subclass says which, and calls :meth:`represent`.

    Batches hold ``x`` ``(B, L)``, ``label`` and the ``fields`` of the kind.

    Args:
      train_split: part to train on: a split of TFDS, or a subfolder of ``path``.
      test_split: part to measure on, likewise.
      peak: largest sample of each sound, of full scale, in the data and in samples; None leaves it unchanged.
      representation: factory of what the network receives; None is the waveform.
      mel: arguments of the log-mel spectrogram that is a condition of the network; None is for others.

    Attributes:
      sample_rate: sample rate in Hz.
      length: samples of an example.
      fields: further fields of a batch.
      by_pitch: whether sounds are encoded by their pitch as well.
      positions: a position along the spatial axes: "sample", "frame", "bin", or "position" of an image.
    """

    unit = "sounds"
    maps = ("log_mel", "low_passed", "low_rate", "mel_magnitudes")
    max_evaluated, max_held_out, max_reconstructed, evaluation_batch = 256, 256, 64, 64
    fields = ()
    by_pitch = False

    train_split: Annotated[str, Text("a split or folder")] = "train"
    test_split: Annotated[str, Text("a split or folder")] = "test"
    peak: Annotated[float, Between(0, 1, "low")] | None = None
    representation: Annotated[Callable | None, REPRESENTATIONS] = None
    mel: Mapping[str, Any] | None = None

    def represent(self, length: int, sample_rate: int) -> None:
        """Sets what the network receives of examples of ``length`` samples."""
        self.length, self.sample_rate = length, sample_rate
        self._represent = functools.partial(
            build_representation, self.representation, sample_rate=sample_rate, mel=self.mel
        )
        self._representation = self._represent(length=length)
        self._axes, self.positions = axes_of(self.representation)
        self.by_pitch = self._representation.controls is not None
        self._encode_by_pitch = jax.jit(self._representation.encode)
        if self.by_pitch:
            allowed = f"another one: {self.name} has no pitch"
            require("pitch" in self.fields, "data.representation.name", self._axes, allowed)
            self.maps = tuple(name for name in self.maps if name != "low_passed")  # encodes sounds alone
        x = jax.ShapeDtypeStruct((1, length), np.int16)
        self.shape = jax.eval_shape(self.inputs, {"x": x, "pitch": jax.ShapeDtypeStruct((1,), np.int32)}).shape[1:]

    def of_length(self, length: int) -> "Sounds":
        """The same set, whose ``from_model`` and ``to_sound`` are of sounds of another length."""
        other = copy.copy(self)
        other._representation = self._represent(length=length)
        return other

    def to_model(self, x):
        return self._representation.encode(audio.pcm_to_float(x))

    def inputs(self, batch):
        if not self.by_pitch:
            return super().inputs(batch)
        return self._encode_by_pitch(audio.pcm_to_float(batch["x"]), batch["pitch"])

    def to_sound(self, x, conditions=None):
        """What the network receives as sounds ``(B, L)`` at full scale 1."""
        dense_map = None if conditions is None else conditions.get("dense_map")
        return self._representation.decode(x, None if dense_map is None else jnp.asarray(dense_map.value))

    def at_peak(self, sound):
        """Sounds ``(B, L)`` with the largest sample of each at ``peak``; as they are without one."""
        return sound if self.peak is None else audio.normalise_peak(sound, self.peak)

    def from_model(self, x, conditions=None):
        sound = self.to_sound(x, conditions)
        scaled = self.at_peak(sound)
        return keep_not_finite(audio.pcm_to_float(audio.float_to_pcm(zero_not_finite(scaled))), x, sound, scaled)

    def real(self, part):
        return np.asarray(audio.pcm_to_float(part["x"]))

    def view(self, samples):
        return SoundsView(samples, self.sample_rate)

    def preview(self):
        first = rows_of(self.test, slice(10))
        return Preview(first["label"], ["sample", "held out"], first)

    def guidance_labels(self):
        return None

    def bits_per_value(self):
        return 16.0

    def described(self):
        seconds = f"{self.length / self.sample_rate:.2f} s at {self.sample_rate:,} Hz"
        return f"{seconds} ({self._axes}, {super().described()})"

    def frequency_axis(self):
        if self.positions == "sample":
            return FrequencyAxis("Hz", "Hz", self.sample_rate * self.shape[0] / self.length)
        return FrequencyAxis(f"cycles per {self.positions}", f"cycles/{self.positions}")

    def perceptual_loss(self, y, x):
        """The multi-resolution STFT loss of each sound, 0 for silent ones."""
        return self._spectral_loss(self.to_sound(y), self.to_sound(x))

    def distances(self, y, x):
        ours, theirs = self.to_sound(y), self.to_sound(x)
        return {
            "log-spectral distance, dB": audio.log_spectral_distance(ours, theirs, self.sample_rate),
            "multi-resolution STFT loss": self._spectral_loss(ours, theirs),
        }

    def _spectral_loss(self, y, x):
        audible = jnp.sqrt(jnp.mean(x**2, axis=-1)) > SILENCE
        tone = jnp.ones_like(x).at[..., ::2].set(-1.0)
        reference = jnp.where(audible[..., None], x, tone)
        return jnp.where(audible, audio.multi_resolution_stft_loss(y, reference, self.sample_rate), 0.0)


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
    data_dir: Annotated[str, Text("a folder")] = "~/tensorflow_datasets"
    label: Annotated[str, OneOf("instrument", "none")] = "instrument"
    crop: Annotated[int, Count(1)] | None = None

    def load(self, split: str) -> Any:
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

    def _classes(self, part: Any) -> np.ndarray:
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

    @functools.cached_property
    def train(self) -> Batch:
        """The beginnings of the training sounds."""
        return self.crops(self._full[0], np.zeros(len(self._sets[0].x), int))

    @functools.cached_property
    def test(self) -> Batch:
        """The beginnings of the test sounds."""
        return self.crops(self._full[1], np.zeros(len(self._sets[1].x), int))

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


def normalised(x: np.ndarray, peak: float) -> np.ndarray:
    """16-bit codes ``(N, L)`` with the largest sample of each sound at ``peak``, in blocks."""
    parts = (audio.normalise_peak(audio.pcm_to_float(x[i : i + 500]), peak) for i in range(0, len(x), 500))
    return np.concatenate([np.asarray(audio.float_to_pcm(part), x.dtype) for part in parts])

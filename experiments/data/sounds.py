"""Common parts of all sounds: 16-bit codes, crops, a representation for the network, and maps of any sound.

Args:
  f_min: the lowest frequency, in Hz.
  factor: ratio of the sample rates.
  fft_size: samples of a frame.
  hop: samples between frames.
  num_mels: number of mel bands.
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
from experiments.data.dataset import Dataset, beside_held_out
from experiments.data.display import FrequencyAxis
from experiments.data.display import Sounds as SoundsView
from experiments.data.finite import keep_not_finite, zero_not_finite
from experiments.data.representation import REPRESENTATIONS, axes_of, build_representation
from scorekit import audio
from scorekit.arguments import Between, Count, Positive, PositiveInt
from scorekit.typing import Number

_FftSize: TypeAlias = Annotated[int, Count(2, 2**20)]
_Hop: TypeAlias = Annotated[int, Count(1, 2**20)]
_Size: TypeAlias = Annotated[int, Count(1, 2**16)]
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


def low_rate(dataset: "Sounds", factor: PositiveInt = 4, scale: Positive[Number] = 1.0) -> Map:
    """A dense map: the samples times ``scale`` at ``1 / factor`` of the sample rate, ``(B, L / factor, 1)``."""
    del dataset
    return lambda batch: scale * audio.low_rate(audio.pcm_to_float(jnp.asarray(batch["raw"])), factor)[..., None]


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
    maps = ("log_mel", "low_rate", "mel_magnitudes")
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
        return beside_held_out(self)

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


def normalised(x: np.ndarray, peak: float) -> np.ndarray:
    """16-bit codes ``(N, L)`` with the largest sample of each sound at ``peak``, in blocks."""
    parts = (audio.normalise_peak(audio.pcm_to_float(x[i : i + 500]), peak) for i in range(0, len(x), 500))
    return np.concatenate([np.asarray(audio.float_to_pcm(part), x.dtype) for part in parts])

"""Common parts of all sounds: 16-bit codes in memory, crops, a representation for the network, and maps of any sound.

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
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError, choice, require
from experiments.data import representation
from experiments.data.dataset import Batch, Dataset, keep_not_finite, rows_of, zero_not_finite
from experiments.data.display import FrequencyAxis, Preview
from experiments.data.display import Sounds as SoundsView
from scorekit import audio, data
from scorekit.arguments import Between, Count, Positive, PositiveInt
from scorekit.guidance import operators
from scorekit.typing import Array

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


class Sounds(Dataset):
    """Sounds from TFDS, held in memory as 16-bit codes; a subclass says which.

    Batches hold ``x`` ``(B, L)``, ``label`` and the ``fields`` of the kind. With ``config.data.crop`` an example is a
    random crop of a sound, drawn from ``(seed, step)``; in the test set it is the beginning of the sound.

    Attributes:
      sample_rate: sample rate in Hz.
      fields: further fields of a batch.
      labels: choices of ``config.data.label``.
    """

    unit = "sounds"
    maps = ("log_mel", "low_passed", "low_rate", "mel_magnitudes")
    sound_fields = ()
    max_evaluated, max_held_out, max_reconstructed, evaluation_batch = 256, 256, 64, 64
    sample_rate: int
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    load: Callable[..., Any]
    _by_pitch = False

    def __init__(self, config: Config):
        options = config.data
        label = options.label or self.labels[0]
        try:
            splits = options.train_split, options.test_split
            train, test = (type(self).load(options.name, split, options.data_dir) for split in splits)
        except ValueError as error:
            raise ConfigError(f"config.data: {error}") from error
        classes = lambda s: np.zeros(len(s.x), np.int32) if label == "none" else getattr(s, label)
        peak = self._peak = options.get("peak")
        sounds = lambda x: x if peak is None else normalised(x, peak)
        full = [
            {"x": sounds(s.x), "label": classes(s), **{name: getattr(s, name) for name in self.fields}}
            for s in (train, test)
        ]
        self.name, self.sample_rate = train.name, train.sample_rate
        self.examples, self.num_classes = len(train.x), 1 + max(int(part["label"].max()) for part in full)
        names = {"instrument": train.instruments, "family": getattr(train, "families", ())}.get(label, ())
        self.class_names = names[: self.num_classes]
        self._hop = self.hop(train)
        length = train.x.shape[1]
        crop = options.crop or length
        fits = 0 < crop <= length and crop % self._hop == 0
        require(fits, "data.crop", options.crop, f"a multiple of {self._hop} up to {length}")
        self.set_representation(config, crop)
        self._full = full[0]
        self.train, self.test = (self._cropped(part, np.zeros(len(part["x"]), int)) for part in full)
        self.shape = jax.eval_shape(self.inputs, rows_of(self.test, slice(1))).shape[1:]

    def set_representation(self, config: Config, crop: int) -> None:
        """Sets what the network receives of examples of ``crop`` samples."""
        self._crop = crop
        self._represent = functools.partial(representation.build_representation, config, sample_rate=self.sample_rate)
        self._representation = self._represent(length=crop)
        self._axes, self._by_pitch = representation.axes_of(config), representation.needs_pitch(config)
        self._encode_by_pitch = jax.jit(self._representation.encode)

    @classmethod
    def spatial_axes(cls, config):
        return representation.spatial_axes(config)

    @classmethod
    def check(cls, config):
        super().check(config)
        choice("data.label", config.data.label or cls.labels[0], cls.labels)
        representation.check_representation(config, cls.fields)

    def hop(self, loaded: Any) -> int:
        """The samples between positions at which a crop may begin."""
        del loaded
        return 1

    def cropped_fields(self, part: Batch, first: np.ndarray, frames: int) -> Batch:
        """The fields of crops that begin at positions ``first`` and are ``frames`` positions long."""
        del first, frames
        return rows_of(part, slice(None))

    def _cropped(self, part: Batch, first: np.ndarray) -> Batch:
        if self._crop == part["x"].shape[1]:
            return part
        found = self.cropped_fields(part, first, self._crop // self._hop)
        at = self._hop * first[:, None] + np.arange(self._crop)
        return {**found, "x": np.take_along_axis(part["x"], at, axis=1)}

    def batch(self, seed, step, size):
        part = data.batch_at(self._full, seed=seed, step=step, batch_size=size)
        positions = (part["x"].shape[1] - self._crop) // self._hop + 1
        return self._cropped(part, np.random.default_rng((seed, step)).integers(positions, size=size))

    @property
    def length(self) -> int:
        """Samples of an example."""
        return self._crop

    def of_length(self, length: int) -> "Sounds":
        """The same set, whose ``from_model`` and ``to_sound`` are of sounds of another length."""
        found = copy.copy(self)
        found._representation = self._represent(length=length)
        return found

    def to_model(self, x):
        return self._representation.encode(audio.pcm_to_float(x))

    def inputs(self, batch):
        if not self._by_pitch:
            return super().inputs(batch)
        return self._encode_by_pitch(audio.pcm_to_float(batch["x"]), batch["pitch"])

    def to_sound(self, x, conditions=None):
        """What the network receives as sounds ``(B, L)``, of several channels ``(B, C, L)``, at full scale 1."""
        dense_map = None if conditions is None else conditions.get("dense_map")
        return self._representation.decode(x, None if dense_map is None else jnp.asarray(dense_map.value))

    def controls(self, x):
        """The frequencies, amplitudes and noise bands that a synthesiser plays of what the network receives."""
        if self._representation.controls is None:
            raise ValueError(f"x must be controls of a synthesiser, got {self._axes.name}")
        return self._representation.controls(x)

    def at_peak(self, sound):
        """Sounds ``(B, L)`` with the largest sample of each at ``config.data.peak``; as they are without one."""
        flat = sound.reshape(len(sound), -1)  # the channels of a sound keep their balance
        return sound if self._peak is None else audio.normalise_peak(flat, self._peak).reshape(sound.shape)

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
        seconds = f"{self._crop / self.sample_rate:.2f} s at {self.sample_rate:,} Hz"
        return f"{seconds} ({self._axes.name}, {super().described()})"

    def frequency_axis(self):
        if self._axes.positions == "sample":
            return FrequencyAxis("Hz", "Hz", self.sample_rate * self.shape[0] / self._crop)
        return FrequencyAxis(f"cycles per {self._axes.positions}", f"cycles/{self._axes.positions}")

    def perceptual_loss(self, y, x):
        """The multi-resolution STFT loss of each sound, 0 for silent ones."""
        return self._spectral_loss(self.to_sound(y), self.to_sound(x))

    def distances(self, y, x):
        ours, theirs = self.to_sound(y), self.to_sound(x)
        return {
            "log-spectral distance, dB": _mean(audio.log_spectral_distance(ours, theirs, self.sample_rate)),
            "multi-resolution STFT loss": self._spectral_loss(ours, theirs),
        }

    def _spectral_loss(self, y, x):
        audible = jnp.sqrt(jnp.mean(x**2, axis=-1)) > SILENCE
        tone = jnp.ones_like(x).at[..., ::2].set(-1.0)
        reference = jnp.where(audible[..., None], x, tone)
        return _mean(jnp.where(audible, audio.multi_resolution_stft_loss(y, reference, self.sample_rate), 0.0))


def _mean(values: Array) -> Array:
    """The mean over the channels of each sound, ``(B,)``, where there are several."""
    return values.reshape(len(values), -1).mean(axis=1)


def normalised(x: np.ndarray, peak: float) -> np.ndarray:
    """16-bit codes ``(N, L)`` with the largest sample of each sound at ``peak``, in blocks."""
    parts = (audio.normalise_peak(audio.pcm_to_float(x[i : i + 500]), peak) for i in range(0, len(x), 500))
    return np.concatenate([np.asarray(audio.float_to_pcm(part), x.dtype) for part in parts])

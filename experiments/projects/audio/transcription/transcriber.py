"""A transcriber from a config: its network, its loss, and the augmentation of the sounds that it is trained on.

The network finds onsets and active keys in spectrograms, in the manner of Onsets and Frames. Two spectrograms with
frequencies on the scale of pitches, one with a long window that separates neighbouring keys and one with a short window
that places onsets, are stacked at the harmonics of each key: a convolution over neighbouring pitches then sees the
overtones of a key too (Bittner et al. 2022, arXiv 2203.09893). As in Hawthorne et al. (2018, arXiv 1710.11153) the head
of active keys is conditioned on the onsets; residual convolutions over time take the place of the recurrent layers.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.cli.config import Config, require_field
from experiments.cli.fields import Field, Section
from experiments.data.dataset import Dataset
from experiments.data.sound_sets import Phrases
from experiments.models.run_files import EVALUATED
from experiments.training import check_average
from scorekit import audio
from scorekit.arguments import Between, Count, Each
from scorekit.data.phrases import FRAME_RATE, SECONDS
from scorekit.typing import Array, ArrayLike, Key, PyTree

LOWEST, HIGHEST = 36, 84
"""The keys that are transcribed, MIDI pitches: those of the phrases."""
BINS = 3
"""Bins of the spectrogram to a semitone."""
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 8)
SHIFTS = tuple(round(12 * BINS * np.log2(harmonic)) for harmonic in HARMONICS)
"""The bins from a key to each of ``HARMONICS``: -36, 0, 36, 57, …."""
_FLOOR, _LOG_MEAN, _LOG_STD = 1e-4, -6.0, 2.0
_FRAME_DILATIONS = (2, 4)
"""Dilations of the blocks of the head of active keys, in pairs of frames."""


class Keys(NamedTuple):
    """Predictions for each frame and key, ``(B, T, pitches)``: two logits, and a velocity over 127."""

    onset: Array
    frame: Array
    velocity: Array


class PitchSpectrogram(NamedTuple):
    """Log-magnitude spectrograms of several windows on the scale of pitches, made by :func:`pitch_spectrogram`.

    Attributes:
      windows: one array for each spectrogram.
      banks: filter banks ``(bins of the Fourier transform, bins of the pitch scale)``, one for each.
      hop: samples from one frame to the next.
    """

    windows: tuple[np.ndarray, ...]
    banks: tuple[np.ndarray, ...]
    hop: int

    def encode(self, sound: ArrayLike) -> Array:
        """``(log(|X| + 1e-4) + 6) / 2`` of sounds ``(B, L)``: ``(B, T, bins, windows)``; a sine has ``|X|`` 1."""
        spectra = []
        for window, bank in zip(self.windows, self.banks, strict=True):
            magnitude = audio.magnitude(audio.stft(sound, window, self.hop)) * (2.0 / window.sum())
            spectra.append(magnitude @ jnp.asarray(bank, magnitude.dtype))
        return (jnp.log(jnp.stack(spectra, axis=-1) + _FLOOR) - _LOG_MEAN) / _LOG_STD

    @property
    def reach(self) -> int:
        """How many frames to either side a value depends on."""
        return max(-(-len(window) // (2 * self.hop)) for window in self.windows)

    def step(self, gain: Array) -> Array:
        """What a gain in decibels adds to the spectrogram where it is far above the floor."""
        return gain * (np.log(10.0) / 20.0 / _LOG_STD)


def pitch_spectrogram(sample_rate: float, hop: int, windows: tuple[float, ...]) -> PitchSpectrogram:
    """Spectrograms whose bins reach from the lowest to the highest of ``HARMONICS`` of the keys.

    Args:
      sample_rate: sample rate in Hz; filters above half of it are 0.
      hop: samples from one frame to the next.
      windows: lengths of Hann windows in seconds, rounded to a power of 2 in samples.
    """
    count = (HIGHEST - LOWEST + 1) * BINS + SHIFTS[-1] - SHIFTS[0]
    pitch = LOWEST + (np.arange(count) + SHIFTS[0] - BINS // 2) / BINS
    centre = 440.0 * 2.0 ** ((pitch - 69) / 12)
    shapes, banks = [], []
    for seconds in windows:
        window = audio.hann(2 ** round(np.log2(seconds * sample_rate)))
        spacing = sample_rate / len(window)
        bins = spacing * np.arange(len(window) // 2 + 1)
        width = np.maximum(centre * (2.0 ** (1 / (12 * BINS)) - 1), spacing)
        bank = np.maximum(1 - np.abs(bins[:, None] - centre) / width, 0) * (centre < sample_rate / 2)
        banks.append((bank / np.maximum(bank.sum(axis=0), 1e-9)).astype(np.float32))
        shapes.append(window)
    return PitchSpectrogram(tuple(shapes), tuple(banks), hop)


class OnsetsAndFrames(nn.Module):
    """Spectrograms ``(B, T, bins, windows)`` to :class:`Keys`; each key is computed by the same convolutions.

    The hidden layers have one position for two frames, and each head predicts both frames.

    Attributes:
      pitches: number of keys.
      channels: channels of every key and pair of frames.
      blocks: residual blocks; block ``i`` looks ``2^(i mod 3)`` pairs of frames to either side.
    """

    pitches: int
    channels: int
    blocks: int

    @property
    def reach(self) -> int:
        """How many frames to either side a prediction depends on: a convolution of dilation d looks d pairs away.

        >>> OnsetsAndFrames(pitches=49, channels=32, blocks=3).reach
        31
        """
        of_blocks = sum(2 ** (i % 3) for i in range(self.blocks))
        return 2 * (1 + of_blocks + 1 + sum(_FRAME_DILATIONS)) + 1  # harmonics, blocks, onsets, frames

    @nn.compact
    def __call__(self, x: Array) -> Keys:
        frames, size = x.shape[1], self.pitches * BINS
        starts = [shift - SHIFTS[0] for shift in SHIFTS]
        x = jnp.concatenate([x[:, :, start : start + size] for start in starts], axis=-1)
        x = jnp.pad(x, [(0, 0), (0, frames % 2), (0, 0), (0, 0)], mode="edge")
        x = jnp.concatenate([x[:, ::2], x[:, 1::2]], axis=-1)
        h = nn.Conv(self.channels, (3, BINS), (1, BINS), "SAME", name="harmonics")(x)
        for i in range(self.blocks):
            h = h + self._block(h, 2 ** (i % 3), f"block_{i}")
        h = nn.LayerNorm(name="norm")(h)
        hidden = nn.gelu(self._conv(h, 1, "onset_hidden"))
        onset = nn.Dense(2, bias_init=nn.initializers.constant(-4.0), name="onset")(hidden)
        known = jax.lax.stop_gradient(nn.sigmoid(onset))
        later = nn.Dense(self.channels, name="frame_input")(jnp.concatenate([h, known], axis=-1))
        for i, dilation in enumerate(_FRAME_DILATIONS):
            later = later + self._block(later, dilation, f"frame_block_{i}")
        later = nn.LayerNorm(name="frame_norm")(later)
        frame = nn.Dense(2, bias_init=nn.initializers.constant(-2.0), name="frame")(later)
        velocity = nn.sigmoid(nn.Dense(2, name="velocity")(h))
        unpaired = lambda y: jnp.moveaxis(y, -1, 2).reshape(len(y), -1, self.pitches)[:, :frames]
        return Keys(unpaired(onset), unpaired(frame), unpaired(velocity))

    def _block(self, h: Array, dilation: int, name: str) -> Array:
        return self._conv(nn.gelu(nn.LayerNorm(name=f"{name}_norm")(h)), dilation, name)

    def _conv(self, h: Array, dilation: int, name: str) -> Array:
        return nn.Conv(self.channels, (3, 3), kernel_dilation=(dilation, 1), name=name)(h)


_KNOTS = 6
"""Knots of the random filter, evenly over the pitches."""
_ONSET, _VELOCITY = 2.0, 5.0
"""Weights of the cross-entropy of onsets and of the squared error of velocities; active keys have weight 1."""


class Transcriber(NamedTuple):
    """What a config describes, for sounds of one sample rate."""

    module: OnsetsAndFrames
    spectrogram: PitchSpectrogram
    sample_rate: int


FIELDS = Section(
    transcriber=Section(
        channels=Field(32, Count(1, 2**16), "Of the hidden layers, for each key and pair of frames."),
        blocks=Field(3, Count(0, 1024), "Residual blocks before the heads."),
        windows=Field((0.512, 0.128), Each(Between(1 / FRAME_RATE, SECONDS), least=1), """
            Windows of the spectrograms, in seconds: a long one separates keys, a short one places onsets. At least a
            frame, 16 ms, and at most a phrase."""),
    ),
    evaluation=Section(
        onset_threshold=Field(None, Between(0, 1, "both"), """
            A note begins where the probability of an onset has a maximum of at least this value; null: the one that is
            best on training phrases, which the run chooses at its end."""),
        num_samples=Field(100, Count(2, 10**8), """
            Held-out phrases that are transcribed, and training phrases for the threshold."""),
        shown=Field(4, Count(1, 10**6), "Phrases with audio widgets."),
        ema=EVALUATED.but("0.99"),
    ),
)  # fmt: skip
"""The sections of a transcriber's config beside ``data`` and ``training``."""


def check(config: Config, dataset: Dataset) -> None:
    """Validates relations between fields; compiles nothing."""
    must, options = functools.partial(require_field, config), config.data
    must("data.name", isinstance(dataset, Phrases), "a data set of phrases")
    allowed = "None: where a sound is cut, a key that is down would count as struck"
    must("data.crop", options.crop is None, allowed)
    allowed = "None: a transcriber has a spectrogram of its own, transcriber.windows"
    must("data.representation.name", options.representation.name is None, allowed)
    check_average(config, "evaluation.ema")


def build_transcriber(config: Config, sample_rate: int) -> Transcriber:
    """Puts the parts of the config together."""
    options, hop = config.transcriber, round(sample_rate / FRAME_RATE)
    module = OnsetsAndFrames(HIGHEST - LOWEST + 1, options.channels, options.blocks)
    return Transcriber(module, pitch_spectrogram(sample_rate, hop, tuple(options.windows)), sample_rate)


def init_params(built: Transcriber, key: Key) -> PyTree:
    """The initial parameters."""
    x = built.spectrogram.encode(jnp.zeros((1, 4 * built.spectrogram.hop)))
    return jax.jit(built.module.init)(key, x)


def make_prepare(
    built: Transcriber, *, gain: float = 20.0, noise: float = 15.0, filter: float = 3.0, delay: float = 0.25
) -> Callable[[Key, Mapping[str, Any]], dict[str, Array]]:
    """``(key, batch) -> batch``: augmented spectrograms and the keys of the roll, ``velocity / 127``.

    Args:
      gain: sounds are attenuated by up to so many decibels.
      noise: the lowest signal-to-noise ratio of white noise that is added, in decibels; the highest is 60.
      filter: standard deviation of the random gains of a filter, in decibels; it is smooth over pitch.
      delay: sounds begin after up to so many seconds of silence.
    """
    hop, most = built.spectrogram.hop, round(delay * FRAME_RATE)

    def delayed(x: Array, steps: Array) -> Array:
        padded = jnp.pad(x, [(most, 0), (0, 0)])
        return jax.lax.dynamic_slice_in_dim(padded, most - steps, len(x))

    def prepare(key, batch):
        for_delay, for_gain, for_snr, for_noise, for_filter = jax.random.split(key, 5)
        sound = audio.pcm_to_float(jnp.asarray(batch["x"]))
        num, length = sound.shape
        roll = jnp.asarray(batch["roll"], jnp.float32)[..., LOWEST : HIGHEST + 1] / 127.0
        steps = jax.random.randint(for_delay, (num,), 0, most + 1)
        blocks = sound.reshape(num, length // hop, hop)
        sound, roll = jax.vmap(delayed)(blocks, steps).reshape(num, length), jax.vmap(delayed)(roll, steps)
        quieter = jax.random.uniform(for_gain, (num, 1), maxval=gain)
        snr = jax.random.uniform(for_snr, (num, 1), minval=noise, maxval=60.0)
        rms = jnp.sqrt(jnp.mean(sound**2, axis=1, keepdims=True))
        hiss = rms * 10 ** (-snr / 20) * jax.random.normal(for_noise, sound.shape)
        x = built.spectrogram.encode(10 ** (-quieter / 20) * (sound + hiss))
        knots = filter * jax.random.normal(for_filter, (num, _KNOTS))
        at = jnp.linspace(0.0, _KNOTS - 1.0, x.shape[2])
        gains = jax.vmap(lambda knot: jnp.interp(at, jnp.arange(_KNOTS), knot))(knots)
        return {"x": x + built.spectrogram.step(gains)[:, None, :, None], "roll": roll}

    return prepare


def onsets(roll: Array) -> Array:
    """Where notes begin in rolls ``(B, T, pitches)``, as booleans: a key is struck again where its velocity changes."""
    before = jnp.pad(roll, [(0, 0), (1, 0), (0, 0)])[:, :-1]
    return (roll > 0) & (roll != before)


def make_loss(built: Transcriber):
    """``(params, prepared batch) -> (loss of each example, its terms)``, in nats for each frame.

    The frames beside an onset have the target 1/2.
    """

    def loss(params, batch):
        keys = cast(Keys, built.module.apply(params, batch["x"]))
        roll = batch["roll"]
        start = onsets(roll).astype(jnp.float32)
        padded = jnp.pad(start, [(0, 0), (1, 1), (0, 0)])
        near = jnp.maximum(start, 0.5 * jnp.maximum(padded[:, :-2], padded[:, 2:]))
        summed = lambda terms: jnp.mean(jnp.sum(terms, axis=2), axis=1)
        onset = summed(optax.sigmoid_binary_cross_entropy(keys.onset, near))
        frame = summed(optax.sigmoid_binary_cross_entropy(keys.frame, (roll > 0).astype(jnp.float32)))
        velocity = summed(start * jnp.square(keys.velocity - roll))
        value = _ONSET * onset + frame + _VELOCITY * velocity
        return value, {"train/onset": onset, "train/frame": frame, "train/velocity": velocity}

    return loss

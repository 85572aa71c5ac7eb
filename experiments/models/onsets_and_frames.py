"""A small network that transcribes music: onsets and active keys from spectrograms, in the manner of Onsets and Frames.

Two spectrograms with frequencies on the scale of pitches, one with a long window that separates neighbouring keys and
one with a short window that places onsets, are stacked at the harmonics of each key: a convolution over neighbouring
pitches then sees the overtones of a key too (Bittner et al. 2022, arXiv 2203.09893). As in Hawthorne et al. (2018,
arXiv 1710.11153) the head of active keys is conditioned on the onsets; residual convolutions over time take the
place of the recurrent layers.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorekit import audio
from scorekit.typing import Array, ArrayLike

BINS = 3
"""Of the spectrogram to a semitone."""
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 8)
_FLOOR = 1e-4
_LOG_MEAN, _LOG_STD = -6.0, 2.0
_FRAME_DILATIONS = (2, 4)
"""Of the blocks of the head of active keys, in pairs of frames."""


class Keys(NamedTuple):
    """What the network predicts of each frame and key, ``(B, T, pitches)``: two logits, and a velocity over 127."""

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
        found = []
        for window, bank in zip(self.windows, self.banks, strict=True):
            magnitude = audio.magnitude(audio.stft(sound, window, self.hop)) * (2.0 / window.sum())
            found.append(magnitude @ jnp.asarray(bank, magnitude.dtype))
        return (jnp.log(jnp.stack(found, axis=-1) + _FLOOR) - _LOG_MEAN) / _LOG_STD

    @property
    def reach(self) -> int:
        """How many frames to either side a value depends on."""
        return max(-(-len(window) // (2 * self.hop)) for window in self.windows)

    def step(self, gain: Array) -> Array:
        """What a gain in decibels adds to the spectrogram where it is far above the floor."""
        return gain * (np.log(10.0) / 20.0 / _LOG_STD)


def pitch_spectrogram(
    sample_rate: float, hop: int, lowest: int, highest: int, windows: tuple[float, ...]
) -> PitchSpectrogram:
    """Spectrograms whose bins reach from the lowest to the highest of ``HARMONICS`` of the keys.

    Args:
      sample_rate: in Hz; filters above half of it are 0.
      hop: samples from one frame to the next.
      lowest: the lowest key, a MIDI pitch.
      highest: the highest key.
      windows: lengths of Hann windows in seconds, rounded to a power of 2 in samples.
    """
    shift = harmonic_shifts()
    count = (highest - lowest + 1) * BINS + shift[-1] - shift[0]
    pitch = lowest + (np.arange(count) + shift[0] - BINS // 2) / BINS
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


def harmonic_shifts() -> list[int]:
    """The bins from a key to each of ``HARMONICS``.

    >>> harmonic_shifts()[:4]
    [-36, 0, 36, 57]
    """
    return [round(12 * BINS * np.log2(harmonic)) for harmonic in HARMONICS]


class OnsetsAndFrames(nn.Module):
    """Spectrograms ``(B, T, bins, windows)`` to :class:`Keys`; each key is computed by the same convolutions.

    The hidden layers have one position for two frames, of which each head predicts both.

    Attributes:
      pitches: number of keys.
      channels: of every key and pair of frames.
      blocks: residual blocks; block ``i`` looks ``2^(i mod 3)`` pairs of frames to either side.
    """

    pitches: int
    channels: int
    blocks: int

    @property
    def dilations(self) -> list[int]:
        """Of the residual blocks before the heads, in pairs of frames."""
        return [2 ** (i % 3) for i in range(self.blocks)]

    @property
    def reach(self) -> int:
        """How many frames to either side a prediction depends on: a convolution of dilation d looks d pairs away.

        >>> OnsetsAndFrames(pitches=49, channels=32, blocks=3).reach
        31
        """
        pairs = 1 + sum(self.dilations) + 1 + sum(_FRAME_DILATIONS)  # harmonics, blocks, onsets, frames
        return 2 * pairs + 1

    @nn.compact
    def __call__(self, x: Array) -> Keys:
        frames, shift, size = x.shape[1], harmonic_shifts(), self.pitches * BINS
        starts = [each - shift[0] for each in shift]
        x = jnp.concatenate([x[:, :, start : start + size] for start in starts], axis=-1)
        x = jnp.pad(x, [(0, 0), (0, frames % 2), (0, 0), (0, 0)], mode="edge")
        x = jnp.concatenate([x[:, ::2], x[:, 1::2]], axis=-1)
        h = nn.Conv(self.channels, (3, BINS), (1, BINS), "SAME", name="harmonics")(x)
        for i, dilation in enumerate(self.dilations):
            h = h + self._block(h, dilation, f"block_{i}")
        h = nn.LayerNorm(name="norm")(h)
        onset = nn.Dense(2, bias_init=nn.initializers.constant(-4.0), name="onset")(
            nn.gelu(self._conv(h, 1, "onset_hidden"))
        )
        known = jax.lax.stop_gradient(nn.sigmoid(onset))
        later = nn.Dense(self.channels, name="frame_input")(jnp.concatenate([h, known], axis=-1))
        for i, dilation in enumerate(_FRAME_DILATIONS):
            later = later + self._block(later, dilation, f"frame_block_{i}")
        frame = nn.Dense(2, bias_init=nn.initializers.constant(-2.0), name="frame")(
            nn.LayerNorm(name="frame_norm")(later)
        )
        velocity = nn.sigmoid(nn.Dense(2, name="velocity")(h))
        return Keys(*(_unpaired(y)[:, :frames] for y in (onset, frame, velocity)))

    def _block(self, h: Array, dilation: int, name: str) -> Array:
        return self._conv(nn.gelu(nn.LayerNorm(name=f"{name}_norm")(h)), dilation, name)

    def _conv(self, h: Array, dilation: int, name: str) -> Array:
        return nn.Conv(self.channels, (3, 3), kernel_dilation=(dilation, 1), name=name)(h)


def _unpaired(y: Array) -> Array:
    """Values of pairs of frames ``(B, T / 2, pitches, 2)`` as ``(B, T, pitches)``."""
    return jnp.moveaxis(y, -1, 2).reshape(len(y), -1, y.shape[2])

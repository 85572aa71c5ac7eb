"""What is played and when, from the sound alone: onsets and chroma; and what is heard where pieces meet.

Windows are given in seconds and the sample rate is an argument, as in :mod:`scorekit.audio.distances`.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from scorekit.audio.stft import hann, magnitude, stft
from scorekit.typing import Array, ArrayLike

HOP = 0.016
"""From one frame of an onset envelope to the next, in seconds; frames of the chroma are four times as far apart."""
ONSET_WINDOW, CHROMA_WINDOW = 0.064, 0.256
"""Hann windows, in seconds."""


def onset_envelope(x: ArrayLike, sample_rate: float) -> Array:
    """How much louder a sound becomes from frame to frame: ``mean_k max(0, L[m, k] - L[m - 1, k])``.

    ``L = log(1 + 100 |X|)`` of the magnitude spectrogram, a sine of amplitude 1 at 1; windows of 64 ms, hops of 16 ms.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      sample_rate: in Hz.

    Returns:
      ``(..., frames - 1)``.

    Source: Böck and Widmer 2013, "Maximum filter vibrato suppression for onset detection", eq. 2 (the plain flux).

    >>> n = jnp.arange(2000.0)
    >>> x = jnp.concatenate([jnp.zeros(2000), jnp.exp(-n / 300) * jnp.sin(n)])  # at 0.5 s, frame 31.25
    >>> abs(int(onset_envelope(x, 4000).argmax()) - 31) <= 2
    True
    """
    window = hann(max(round(ONSET_WINDOW * sample_rate), 4))
    size = magnitude(stft(x, window, max(round(HOP * sample_rate), 1))) * (2.0 / window.sum())
    level = jnp.log1p(100.0 * size)
    return jnp.mean(jnp.maximum(level[..., 1:, :] - level[..., :-1, :], 0.0), axis=-1)


def chroma(x: ArrayLike, sample_rate: float, f_min: float = 55.0) -> Array:
    """The energy in each of the twelve pitch classes, C first, of unit Euclidean length in every frame.

    Windows of 256 ms, hops of 64 ms. A bin shares its energy between the two classes that it lies between.

    Args:
      x: signals ``(..., length)``.
      sample_rate: in Hz.
      f_min: bins below are left out, in Hz.

    Returns:
      ``(..., frames, 12)``; zero where the sound is silent.

    >>> x = jnp.sin(2 * jnp.pi * 440 / 4000 * jnp.arange(4000.0))
    >>> int(chroma(x, 4000)[5].argmax())  # A
    9
    """
    window = hann(max(round(CHROMA_WINDOW * sample_rate), 4))
    energy = magnitude(stft(x, window, max(round(4 * HOP * sample_rate), 1))) ** 2
    folded = energy @ jnp.asarray(_pitch_classes(len(window), sample_rate, f_min), energy.dtype)
    return over_root(folded, jnp.sum(folded**2, axis=-1, keepdims=True))


def _pitch_classes(fft_size: int, sample_rate: float, f_min: float) -> np.ndarray:
    """``(bins, 12)``: how the energy of a bin is shared."""
    hertz = np.arange(fft_size // 2 + 1) * sample_rate / fft_size
    weights = np.zeros((len(hertz), 12))
    for k in np.flatnonzero(hertz >= f_min):
        pitch = 69 + 12 * math.log2(hertz[k] / 440)
        below = math.floor(pitch)
        weights[k, below % 12] += below + 1 - pitch
        weights[k, (below + 1) % 12] += pitch - below
    return weights


def correlation(a: ArrayLike, b: ArrayLike) -> Array:
    """Pearson's correlation of two arrays ``(B, ...)``, one number for each of B; 0 where one does not vary.

    >>> correlation(jnp.array([[0.0, 1.0, 2.0]]), jnp.array([[1.0, 3.0, 5.0]]))
    Array([1.], dtype=float32)
    """
    a, b = (jnp.reshape(y, (jnp.shape(y)[0], -1)) for y in (jnp.asarray(a), jnp.asarray(b)))
    a, b = (y - y.mean(1, keepdims=True) for y in (a, b))
    return over_root(jnp.sum(a * b, 1), jnp.sum(a**2, 1) * jnp.sum(b**2, 1))


def seam_roughness(x: ArrayLike, seams: Sequence[int]) -> Array:
    """The energy of the second difference where pieces meet over that everywhere: 1 where nothing is to be heard.

    ``(x[s] - 2 x[s - 1] + x[s - 2])^2`` and the next one, the two that a break before sample s enters, averaged over
    the seams, over the average of all.

    Args:
      x: signals ``(..., length)``, not constant.
      seams: first samples of pieces, 2 to ``length - 2``.

    Returns:
      ``(...)``, a ratio.

    >>> smooth = jnp.sin(0.1 * jnp.arange(1000.0))
    >>> broken = smooth.at[500:].add(0.5)
    >>> float(seam_roughness(smooth, [500])) < 2.1, float(seam_roughness(broken, [500])) > 100
    (True, True)
    """
    energy = jnp.square(jnp.diff(jnp.asarray(x), n=2, axis=-1))
    at = np.asarray(seams)[:, None] + np.array([-2, -1])
    return jnp.mean(energy[..., at], axis=(-2, -1)) / jnp.mean(energy, axis=-1)


def over_root(x: Array, square: Array) -> Array:
    """``x / sqrt(square)``, 0 with gradient 0 where ``square`` is 0."""
    return jnp.where(square > 0, x / jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)

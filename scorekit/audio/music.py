"""What is played and when, from the sound alone: chroma and spectral flux; and what is heard where pieces meet.

Windows are given in seconds and the sample rate is an argument, as in :mod:`scorekit.audio.distances`.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from scorekit.audio.stft import hann, magnitude, stft
from scorekit.typing import Array, ArrayLike

CHROMA_WINDOW, FLUX_WINDOW, HOP = 0.128, 0.032, 0.016
"""Hann windows and their hop, in seconds."""
LOWEST_HZ = 60.0
"""Chroma leaves out what is below: semitones are narrower than the window can tell."""


def chroma(x: ArrayLike, sample_rate: float) -> Array:
    """How much of each pitch class sounds: magnitudes from 60 Hz, each bin to the nearest semitone, octaves together.

    Args:
      x: signals ``(..., length)``.
      sample_rate: in Hz.

    Returns:
      ``(..., frames, 12)``, from C to B; frames of 16 ms.

    Source: Fujishima 1999, "Realtime chord recognition of musical sound".

    >>> a = jnp.sin(2 * jnp.pi * 440 / 4000 * jnp.arange(4000.0))
    >>> int(jnp.argmax(chroma(a, 4000).mean(0)))  # A
    9
    """
    size = _samples(CHROMA_WINDOW, sample_rate)
    bins = np.arange(size // 2 + 1) * sample_rate / size
    heard = bins >= LOWEST_HZ
    classes = np.round(69 + 12 * np.log2(bins[heard] / 440.0)).astype(int) % 12
    to_class = np.zeros((len(bins), 12))
    to_class[np.flatnonzero(heard), classes] = 1.0
    size_of = magnitude(stft(x, hann(size), _samples(HOP, sample_rate)))
    return jnp.matmul(size_of, jnp.asarray(to_class, size_of.dtype), precision="highest")


def spectral_flux(x: ArrayLike, sample_rate: float) -> Array:
    """How much the magnitudes rise from each frame to the next, summed over bins: large where something is struck.

    Args:
      x: signals ``(..., length)``.
      sample_rate: in Hz.

    Returns:
      ``(..., frames - 1)``; frames of 16 ms.

    Source: Dixon 2006, "Onset detection revisited", section 2.1.

    >>> struck = jnp.where(jnp.arange(4000) < 2000, 0.0, jnp.sin(jnp.arange(4000.0)))
    >>> 1 + int(jnp.argmax(spectral_flux(struck, 4000)))  # the frame around 0.496 s is the first to hear it
    31
    """
    window = hann(_samples(FLUX_WINDOW, sample_rate))
    size_of = magnitude(stft(x, window, _samples(HOP, sample_rate)))
    return jnp.sum(jnp.maximum(size_of[..., 1:, :] - size_of[..., :-1, :], 0.0), axis=-1)


def correlation(a: ArrayLike, b: ArrayLike) -> Array:
    """Pearson's correlation of two arrays ``(B, ...)``, one number for each of B; 0 where one does not vary.

    >>> correlation(jnp.array([[0.0, 1.0, 2.0]]), jnp.array([[1.0, 3.0, 5.0]]))
    Array([1.], dtype=float32)
    """
    a, b = (jnp.reshape(y, (jnp.shape(y)[0], -1)) for y in (jnp.asarray(a), jnp.asarray(b)))
    a, b = (y - y.mean(1, keepdims=True) for y in (a, b))
    norm = jnp.sqrt(jnp.sum(a**2, 1) * jnp.sum(b**2, 1))
    return jnp.where(norm > 0, jnp.sum(a * b, 1) / jnp.where(norm > 0, norm, 1.0), 0.0)


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


def _samples(seconds: float, sample_rate: float) -> int:
    return max(round(seconds * sample_rate), 4)

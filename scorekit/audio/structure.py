"""What repeats in music over seconds: onsets that come back in rhythm, and harmony that comes back in time.

A model that draws good sounds from moment to moment may still draw music without a beat or a key. The statistics here
look past the moment: each is a function of a lag in seconds, and describes a clip by a short vector, so that sets of
clips can be compared by :func:`scorekit.metrics.frechet_distance`.
"""

import math

import jax.numpy as jnp
import numpy as np

from scorekit.audio.stft import hann, magnitude, stft
from scorekit.typing import Array, ArrayLike

HOP = 0.016
"""From one frame of an onset envelope to the next, in seconds; frames of the chroma are four times as far apart."""
ONSET_WINDOW = 0.064
CHROMA_WINDOW = 0.256
ONSET_LAGS = tuple(0.128 * i for i in range(1, 17))
"""Lags of the statistics of onsets, in seconds."""
CHROMA_LAGS = tuple(0.256 * i for i in range(1, 13))
"""Lags of the statistics of harmony, in seconds."""


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
    return _over_root(folded, jnp.sum(folded**2, axis=-1, keepdims=True))


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


def autocorrelation(x: ArrayLike, lags: tuple[int, ...]) -> Array:
    """The correlation of a series with itself, ``lag`` steps later, at each lag.

    Args:
      x: ``(..., T)``.
      lags: in steps, from 0 to T - 2.

    Returns:
      ``(..., len(lags))`` in [-1, 1]: Pearson's correlation of the pairs that there are; 0 where either is constant.

    Raises:
      ValueError: for a lag that is out of range.

    >>> print(jnp.round(autocorrelation(jnp.array([1.0, 0.0, 1.0, 0.0, 1.0]), (0, 1, 2)), 3))
    [ 1. -1.  1.]
    """
    x = jnp.asarray(x)
    _check_lags(lags, x.shape[-1], 2)
    found = []
    for lag in lags:
        a, b = x[..., : x.shape[-1] - lag], x[..., lag:]
        a, b = (part - jnp.mean(part, axis=-1, keepdims=True) for part in (a, b))
        found.append(_over_root(jnp.sum(a * b, axis=-1), jnp.sum(a**2, axis=-1) * jnp.sum(b**2, axis=-1)))
    return jnp.stack(found, axis=-1)


def self_similarity(x: ArrayLike, lags: tuple[int, ...]) -> Array:
    """The mean inner product of the vectors of a series with those ``lag`` steps later, at each lag.

    Args:
      x: ``(..., T, D)``, of unit length for cosines.
      lags: in steps, from 0 to T - 1.

    Returns:
      ``(..., len(lags))``.

    Raises:
      ValueError: for a lag that is out of range.

    >>> self_similarity(jnp.eye(2)[jnp.array([0, 1, 0, 1])], (0, 1, 2)).tolist()
    [1.0, 0.0, 1.0]
    """
    x = jnp.asarray(x)
    steps = x.shape[-2]
    _check_lags(lags, steps, 1)
    return jnp.stack(
        [jnp.mean(jnp.sum(x[..., : steps - n, :] * x[..., n:, :], axis=-1), axis=-1) for n in lags], axis=-1
    )


def rhythm_statistics(x: ArrayLike, sample_rate: float) -> Array:
    """The autocorrelation of the onset envelope at 16 lags from 0.128 to 2.048 s: ``(..., 16)``.

    The envelope is smoothed over 112 ms first, so that beats that do not fall on a multiple of 0.128 s count.

    >>> rhythm_statistics(jnp.ones((3, 16384)), 4000).shape
    (3, 16)
    """
    envelope = onset_envelope(x, sample_rate)
    taps = hann(8)[1:] / hann(8)[1:].sum()
    length = envelope.shape[-1] - len(taps) + 1
    smooth = sum(tap * envelope[..., i : i + length] for i, tap in enumerate(taps))
    return autocorrelation(smooth, tuple(round(lag / HOP) for lag in ONSET_LAGS))  # type: ignore[arg-type]


def harmony_statistics(x: ArrayLike, sample_rate: float) -> Array:
    """The self-similarity of the chroma at 12 lags from 0.256 to 3.072 s: ``(..., 12)``.

    It falls where chords change and rises where they come back.

    >>> harmony_statistics(jnp.ones((3, 16384)), 4000).shape
    (3, 12)
    """
    return self_similarity(chroma(x, sample_rate), tuple(round(lag / (4 * HOP)) for lag in CHROMA_LAGS))


def _over_root(x: Array, square: Array) -> Array:
    """``x / sqrt(square)``, 0 with gradient 0 where ``square`` is 0."""
    return jnp.where(square > 0, x / jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _check_lags(lags: tuple[int, ...], steps: int, least: int) -> None:
    if any(not 0 <= lag <= steps - least for lag in lags):
        raise ValueError(f"lags must be from 0 to {steps - least} for a series of {steps} steps, got {tuple(lags)}")

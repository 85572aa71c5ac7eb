"""Long-range structure of music: the periodicity of onsets and the recurrence of harmony.

A model may generate realistic sound from moment to moment, but no rhythm or harmony. The statistics here are functions
of a lag in seconds and describe a clip by a short vector, so that sets of clips can be compared by
:func:`scorekit.metrics.frechet_distance`.
"""

from typing import Any

import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.audio._checks import HOP, over_root
from scorekit.audio.fourier import hann
from scorekit.audio.music import chroma, onset_envelope
from scorekit.typing import Array, ArrayLike

__all__ = ["CHROMA_LAGS", "ONSET_LAGS", "autocorrelation", "harmony_statistics", "rhythm_statistics", "self_similarity"]

ONSET_LAGS = tuple(0.128 * i for i in range(1, 17))
"""Lags of the statistics of onsets, in seconds."""
CHROMA_LAGS = tuple(0.256 * i for i in range(1, 13))
"""Lags of the statistics of harmony, in seconds."""


def autocorrelation(x: ArrayLike, lags: tuple[int, ...]) -> Array:
    """The autocorrelation of a series at the given lags, in [-1, 1]: Pearson's, of the overlapping parts.

    0 where either is constant.

    Args:
      x: series ``(..., T)``.
      lags: lags in steps, from 0 to T - 2.

    Returns:
      A value for each lag, ``(..., len(lags))``.

    >>> autocorrelation(jnp.array([1.0, 0.0, 1.0, 0.0, 1.0]), (0, 1, 2)).round(3) + 0.0
    Array([ 1., -1.,  1.], dtype=float32)
    """
    x = jnp.asarray(x)
    _check_lags(lags, x.shape[-1], 2)
    found = []
    for lag in lags:
        a, b = x[..., : x.shape[-1] - lag], x[..., lag:]
        a, b = (part - jnp.mean(part, axis=-1, keepdims=True) for part in (a, b))
        found.append(over_root(jnp.sum(a * b, axis=-1), jnp.sum(a**2, axis=-1) * jnp.sum(b**2, axis=-1)))
    return jnp.stack(found, axis=-1)


def self_similarity(x: ArrayLike, lags: tuple[int, ...]) -> Array:
    """The mean inner product of the vectors of a series at the given lags: ``mean_t <x[t], x[t + lag]>``.

    Args:
      x: series of vectors ``(..., T, D)``, of unit norm for cosine similarities.
      lags: lags in steps, from 0 to T - 1.

    Returns:
      A value for each lag, ``(..., len(lags))``.

    >>> self_similarity(jnp.eye(2)[jnp.array([0, 1, 0, 1])], (0, 1, 2)).tolist()
    [1.0, 0.0, 1.0]

    Source: Foote 1999, "Visualizing music and audio using self-similarity".
    """
    x = jnp.asarray(x)
    steps = x.shape[-2]
    _check_lags(lags, steps, 1)
    return jnp.stack(
        [jnp.mean(jnp.sum(x[..., : steps - n, :] * x[..., n:, :], axis=-1), axis=-1) for n in lags], axis=-1
    )


@checked
def rhythm_statistics(x: ArrayLike, sample_rate: Positive[float]) -> Array:
    """The autocorrelation of the onset envelope at 16 lags from 0.128 to 2.048 s, of signals of more than 2.2 s.

    The envelope is smoothed over 112 ms first, so that beats at other periods than multiples of 0.128 s count. 0 where
    the envelope is constant.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      sample_rate: sample rate in Hz.

    >>> rhythm_statistics(jnp.ones((3, 16384)), 4000).shape
    (3, 16)
    """
    envelope = onset_envelope(x, sample_rate)
    taps = hann(8)[1:]  # correlations are invariant to its scale
    length = envelope.shape[-1] - len(taps) + 1
    smooth: Any = sum(tap * envelope[..., i : i + length] for i, tap in enumerate(taps))
    return autocorrelation(smooth, tuple(round(lag / HOP) for lag in ONSET_LAGS))


@checked
def harmony_statistics(x: ArrayLike, sample_rate: Positive[float]) -> Array:
    """The self-similarity of the chroma at 12 lags from 0.256 to 3.072 s, of signals of at least 3.1 s.

    It decreases where chords change and increases where they recur.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      sample_rate: sample rate in Hz.

    >>> harmony_statistics(jnp.ones((3, 16384)), 4000).shape
    (3, 12)
    """
    return self_similarity(chroma(x, sample_rate), tuple(round(lag / (4 * HOP)) for lag in CHROMA_LAGS))


def _check_lags(lags: tuple[int, ...], steps: int, least: int) -> None:
    if any(not 0 <= lag <= steps - least for lag in lags):
        raise ValueError(f"lags must be from 0 to {steps - least} for a series of {steps} steps, got {tuple(lags)}")

"""Features of clips for Fréchet distances between sets of sounds.

The features need no trained network, so that distances are reproducible. Distances at different sample rates are not
comparable: the bands extend to half the sample rate.

Args:
  x: signals ``(..., length)``, full scale [-1, 1].
  sample_rate: sample rate in Hz.

Returns:
  ``(..., frames, 48)``, or of the statistics ``(..., 96)``: 48 means, then 48 standard deviations. 1 neper is 8.69 dB.

>>> silence = log_mel_frames(jnp.zeros(4000), 4000)
>>> silence.shape, round(float(silence.max()), 3)  # log 1e-4
((64, 48), -9.21)
>>> x = jnp.sin(2 * jnp.pi * 440 / 4000 * jnp.arange(4000.0))
>>> quieter = log_mel_statistics(0.1 * x, 4000) - log_mel_statistics(x, 4000)
>>> round(float(quieter[:48].min()), 2)  # log 0.1, in the bands above the floor
-2.3
"""

import math
from typing import Annotated, TypeAlias

import jax.numpy as jnp

from scorekit.arguments import Between, FiniteScalar, checked
from scorekit.audio.mel.spectrograms import mel_filter_bank, mel_spectrogram
from scorekit.audio.stft import hann
from scorekit.typing import Array, ArrayLike

__all__ = ["log_mel_frames", "log_mel_statistics"]

_Rate: TypeAlias = Annotated[float, Between(1000, scalar=True)]

_WINDOW = 0.064
"""The Hann window in seconds; the hop is a quarter of it, the transform at least twice as long."""
_BANDS = 48
_LOWEST_HZ = 40.0
_FLOOR_DB = -80.0
"""Smallest level of a band, relative to a full-scale sine."""


@checked
def log_mel_frames(x: ArrayLike, sample_rate: _Rate, *, floor_db: FiniteScalar = _FLOOR_DB) -> Array:
    """Log-amplitudes of 48 bands of Slaney's mel scale, from 40 Hz to half the sample rate, in nepers.

    ``log max(sum_k w_bk |X[m, k]|, floor)`` with triangles ``w`` of height 1 and magnitudes scaled so that a sine of
    amplitude 1 has magnitude 1 in its bin; windows of 64 ms, hops of 16 ms.

    Args:
      floor_db: smallest level of a band, relative to a full-scale sine.
    """
    length = round(_WINDOW * sample_rate)
    window = hann(length, 2 ** math.ceil(math.log2(2 * length)))
    bank = mel_filter_bank(sample_rate, len(window), _BANDS, f_min=_LOWEST_HZ, norm=None)
    bands = mel_spectrogram(x, bank * (2.0 / window.sum()), window, length // 4)
    return jnp.log(jnp.maximum(bands, 10.0 ** (floor_db / 20.0)))


@checked
def log_mel_statistics(x: ArrayLike, sample_rate: _Rate) -> Array:
    """The mean and the standard deviation over time of :func:`log_mel_frames`: the timbre of a clip in 96 values.

    The Fréchet distance between two sets of clips (:func:`scorekit.metrics.frechet_distance`) of these features is in
    squared nepers, summed over the 96 features.
    """
    frames = log_mel_frames(x, sample_rate)
    return jnp.concatenate([jnp.mean(frames, axis=-2), jnp.std(frames, axis=-2)], axis=-1)

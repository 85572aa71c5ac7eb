"""The mel scales of Slaney and of HTK, banks of triangular filters, mel and log-mel spectrograms.

HTK's mel is logarithmic: ``mel = 2595 log10(1 + f / 700)``. Slaney's is linear below 1000 Hz, 200/3 Hz to a mel, and
logarithmic above, with 27 mels from 1000 to 6400 Hz. Mel spectrograms with different scales, norms, powers or floors
are not interchangeable: a vocoder needs the ones that it was trained with.

Args:
  scale: mel scale.
  x: signals ``(..., length)``.
  bank: filter bank ``(N // 2 + 1, num_mels)``, from :func:`mel_filter_bank` with ``fft_size=N``.
  window: window ``(N,)``.
  hop: samples from one frame to the next.
  power: exponent of the magnitudes, 1 for vocoders, 2 for energies (usual for recognition).
  frequency: frequencies in Hz, any shape.
  mel: mels of any shape, not NaN.

Returns:
  Mels or Hz, float64; of a spectrogram ``(..., frames, num_mels)``, in units of the signal to the ``power``.

>>> round(float(hz_to_mel(1000.0)), 2), round(float(hz_to_mel(1000.0, "htk")), 2), round(float(mel_to_hz(42.0)), 6)
(15.0, 999.99, 6400.0)
>>> from scorekit.audio.stft import hann
>>> bank = mel_filter_bank(8000, 256, 20)
>>> mel_spectrogram(jnp.zeros((2, 800)), bank, hann(256), 80).shape
(2, 11, 20)
>>> round(float(log_mel(jnp.zeros(800), bank, hann(256), 80).max()), 3)
-11.513

Source: Slaney 1998, "Auditory Toolbox" (1998-010); Young et al., "The HTK Book".
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import FiniteScalar, NonNegative, NonNegativeScalar, PositiveInt, PositiveScalar, checked
from scorekit.audio._checks import FftSize, Rate
from scorekit.audio.stft import magnitude, stft
from scorekit.checks import check_not_nan
from scorekit.typing import Array, ArrayLike

__all__ = ["hz_to_mel", "log_mel", "mel_filter_bank", "mel_spectrogram", "mel_to_hz"]

_Scale = Literal["slaney", "htk"]

_HZ_PER_MEL = 200.0 / 3.0
_CORNER_HZ = 1000.0
_MELS_PER_NEPER = 27.0 / np.log(6.4)


@checked
def hz_to_mel(frequency: NonNegative, scale: _Scale = "slaney") -> np.ndarray:
    """Hertz to mels, on the host in float64."""
    hertz = np.asarray(frequency, np.float64)
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hertz / 700.0)
    above = _CORNER_HZ / _HZ_PER_MEL + _MELS_PER_NEPER * np.log(np.maximum(hertz, _CORNER_HZ) / _CORNER_HZ)
    return np.where(hertz < _CORNER_HZ, hertz / _HZ_PER_MEL, above)


@checked
def mel_to_hz(mel, scale: _Scale = "slaney") -> np.ndarray:
    """Mels to hertz: the inverse of :func:`hz_to_mel`.

    HTK: ``f = 700 (10^(mel / 2595) - 1)``. Slaney: ``f = 200 / 3 mel`` up to 15 mels, ``f = 1000 6.4^((mel - 15) /
    27)`` above.
    """
    check_not_nan(mel=mel)
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    corner = _CORNER_HZ / _HZ_PER_MEL
    above = _CORNER_HZ * np.exp(np.maximum(mel - corner, 0.0) / _MELS_PER_NEPER)
    return np.where(mel < corner, _HZ_PER_MEL * mel, above)


@checked
def mel_filter_bank(
    sample_rate: Rate,
    fft_size: FftSize,
    num_mels: PositiveInt,
    *,
    f_min: NonNegativeScalar = 0.0,
    f_max: FiniteScalar | None = None,
    scale: _Scale = "slaney",
    norm: Literal["slaney"] | None = "slaney",
) -> np.ndarray:
    """Triangular filters whose corners are equidistant in mels, on the host in float64.

    Filter ``i`` rises from 0 at corner ``i`` to its peak at corner ``i + 1`` and falls to 0 at corner ``i + 2``.

    Args:
      sample_rate: sample rate in Hz.
      fft_size: length of the short-time Fourier transform, in samples.
      num_mels: number of filters, each wide enough to contain a bin.
      f_min: lowest corner, in Hz.
      f_max: highest corner, in Hz, above ``f_min``; ``None`` is half the sample rate.
      norm: ``"slaney"`` gives each filter unit area over Hz, ``None`` unit height.

    Returns:
      float32 ``(fft_size // 2 + 1, num_mels)``.
    """
    f_max = sample_rate / 2.0 if f_max is None else f_max
    if not 0.0 <= f_min < f_max <= sample_rate / 2.0:
        raise ValueError(f"f_min, f_max must satisfy 0 <= f_min < f_max <= {sample_rate / 2.0}, got {f_min}, {f_max}")
    bins = np.arange(fft_size // 2 + 1) * (sample_rate / fft_size)
    corners = mel_to_hz(np.linspace(hz_to_mel(f_min, scale), hz_to_mel(f_max, scale), num_mels + 2), scale)
    rising = (bins[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - bins[:, None]) / np.diff(corners)[1:]
    bank = np.maximum(np.minimum(rising, falling), 0.0)
    empty = np.flatnonzero(bank.sum(axis=0) == 0.0)
    if len(empty):
        raise ValueError(
            f"num_mels must be so small that every filter contains a bin of the transform, got {num_mels} with"
            f" fft_size={fft_size} at {sample_rate} Hz: filters {empty.tolist()} are empty"
        )
    return (bank * (2.0 / (corners[2:] - corners[:-2])) if norm else bank).astype(np.float32)


@checked
def mel_spectrogram(
    x: ArrayLike, bank: ArrayLike, window: ArrayLike, hop: PositiveInt, *, power: PositiveScalar = 1.0
) -> Array:
    """``|stft(x)|^power`` summed by each filter of a bank."""
    shape = jnp.shape(bank)
    if len(shape) != 2 or shape[0] != jnp.size(window) // 2 + 1:
        raise ValueError(f"bank must be ({jnp.size(window) // 2 + 1}, num_mels) for the window, got {shape}")
    size = magnitude(stft(x, window, hop)) ** power
    return jnp.matmul(size, jnp.asarray(bank, size.dtype), precision="highest")


@checked
def log_mel(
    x: ArrayLike,
    bank: ArrayLike,
    window: ArrayLike,
    hop: PositiveInt,
    *,
    power: PositiveScalar = 1.0,
    floor: PositiveScalar = 1e-5,
) -> Array:
    """The log-mel spectrogram ``log(max(mel, floor))`` in nepers, the usual condition of vocoders.

    Args:
      floor: smallest value of the mel spectrogram, below which gradients are 0; a neper is 20 / log(10) = 8.69 dB if
        ``power=1``.
    """
    return jnp.log(jnp.maximum(mel_spectrogram(x, bank, window, hop, power=power), floor))

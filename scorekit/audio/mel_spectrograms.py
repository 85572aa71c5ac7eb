"""Mel spectrograms: the mel scales of Slaney and of HTK, banks of triangular filters, and the way back.

HTK's mel is logarithmic: ``mel = 2595 log10(1 + f / 700)``. Slaney's is linear below 1000 Hz, 200/3 Hz to a mel, and
logarithmic above, with 27 mels from 1000 to 6400 Hz. Mel spectrograms with different scales, norms, powers or floors
are not interchangeable: a vocoder needs the ones that it was trained with.

A bank has fewer filters than the transform has bins, so that the magnitudes are not determined.
:func:`magnitude_from_mel` is a non-negative least-squares fit, for :func:`scorekit.audio.griffin_lim`;
:func:`mel_envelope` interpolates the mean magnitude of each filter, smooth and positive where the mel spectrogram is.

Source: Slaney 1998, "Auditory Toolbox" (1998-010); Young et al., "The HTK Book".
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Finite, NonNegative, Positive, PositiveInt, checked
from scorekit.audio._checks import FftSize
from scorekit.audio.fourier import magnitude, stft
from scorekit.checks import check_not_nan
from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike, Number

_Scale = Literal["slaney", "htk"]

_HZ_PER_MEL = 200.0 / 3.0
_CORNER_HZ = 1000.0
_MELS_PER_NEPER = 27.0 / np.log(6.4)


@checked
def hz_to_mel(frequency: NonNegative[Number], scale: _Scale = "slaney") -> np.ndarray:
    """Hertz to mels, on the host in float64.

    Args:
      frequency: frequencies in Hz, any shape.
      scale: mel scale.

    Returns:
      Mels, float64.

    >>> round(float(hz_to_mel(1000.0)), 2), round(float(hz_to_mel(1000.0, "htk")), 2)
    (15.0, 999.99)
    """
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

    Args:
      mel: mels, any shape, not NaN.
      scale: mel scale.

    Returns:
      Frequencies in Hz, float64.

    >>> round(float(mel_to_hz(42.0)), 6)
    6400.0
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
    sample_rate: Positive[float],
    fft_size: FftSize,
    num_mels: PositiveInt,
    *,
    f_min: NonNegative[float] = 0.0,
    f_max: Finite[float] | None = None,
    scale: _Scale = "slaney",
    norm: Literal["slaney"] | None = "slaney",
) -> np.ndarray:
    """Triangular filters whose corners are equidistant in mels, on the host in float64.

    Filter ``i`` rises from 0 at corner ``i`` to its peak at corner ``i + 1`` and falls to 0 at corner ``i + 2``. The
    bank is float32.

    Args:
      sample_rate: sample rate in Hz.
      fft_size: length of the short-time Fourier transform, in samples.
      num_mels: number of filters, each wide enough to contain a bin.
      f_min: lowest corner, in Hz.
      f_max: highest corner, in Hz, above ``f_min``; ``None`` is half the sample rate.
      scale: mel scale.
      norm: ``"slaney"`` gives each filter unit area over Hz, ``None`` unit height.

    Returns:
      The bank ``(fft_size // 2 + 1, num_mels)``, float32.

    >>> mel_filter_bank(8000, 256, 40, f_min=100.0).shape
    (129, 40)
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
    x: ArrayLike, bank: ArrayLike, window: ArrayLike, hop: PositiveInt, *, power: Positive[float] = 1.0
) -> Array:
    """``|stft(x)|^power`` summed by each filter of a bank.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      bank: filter bank ``(N // 2 + 1, num_mels)``, >= 0, from :func:`mel_filter_bank`.
      window: window ``(N,)``, concrete.
      hop: samples from one frame to the next.
      power: exponent of the magnitudes, 1 for vocoders, 2 for energies (usual for recognition).

    Returns:
      Mel spectrogram ``(..., frames, num_mels)``, in units of the signal to the ``power``.

    >>> mel_spectrogram(jnp.zeros(1000), mel_filter_bank(8000, 256, 40, f_min=100.0), jnp.ones(256), 64).shape
    (17, 40)
    """
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
    power: Positive[float] = 1.0,
    floor: Positive[float] = 1e-5,
) -> Array:
    """The log-mel spectrogram ``log(max(mel, floor))`` in nepers, the usual condition of vocoders.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      bank: filter bank ``(N // 2 + 1, num_mels)``, >= 0, from :func:`mel_filter_bank`.
      window: window ``(N,)``, concrete.
      hop: samples from one frame to the next.
      power: exponent of the magnitudes, 1 for vocoders, 2 for energies (usual for recognition).
      floor: smallest value of the mel spectrogram, below which gradients are 0; a neper is 20 / log(10) = 8.69 dB if
        ``power=1``.

    >>> bank = mel_filter_bank(8000, 256, 40, f_min=100.0)
    >>> round(float(log_mel(jnp.zeros(1000), bank, jnp.ones(256), 64).max()), 3)  # log 1e-5
    -11.513
    """
    return jnp.log(jnp.maximum(mel_spectrogram(x, bank, window, hop, power=power), floor))


_TINY = 1e-30


@checked
def magnitude_from_mel(
    mel: NonNegative[ArrayLike], bank: NonNegative[ArrayLike], *, iterations: PositiveInt = 100
) -> Array:
    """Non-negative magnitudes ``h`` whose mel spectrogram ``h B`` approximates a given one in least squares.

    ``h <- h (mel B') / (h B B')``, starting at ``h = 1``: no step increases ``|h B - mel|``. 0 in bins outside all
    filters.

    Args:
      mel: mel spectrogram of magnitudes (or of powers, which are then returned), ``(..., num_mels)``, >= 0; a traced
        value below gives NaN.
      bank: filter bank B ``(N // 2 + 1, num_mels)``, >= 0, from :func:`mel_filter_bank`; concrete.
      iterations: number of steps.

    Returns:
      Magnitudes ``(..., N // 2 + 1)`` in the units of ``mel``.

    >>> bank = mel_filter_bank(8000, 256, 40, f_min=100.0)
    >>> bool(jnp.allclose(magnitude_from_mel(bank.sum(0), bank) @ bank, bank.sum(0), rtol=1e-3))
    True

    Source: Lee and Seung 2001, "Algorithms for non-negative matrix factorization", with one factor fixed.
    """
    mel, bank = _check(mel, bank)
    mel = jnp.where(mel >= 0, mel, jnp.nan)
    product = lambda a, b: jnp.matmul(a, b, precision="highest")
    wanted = product(mel, bank.T)

    def step(h: Array, _) -> tuple[Array, None]:
        return h * wanted / jnp.maximum(product(product(h, bank), bank.T), _TINY), None

    return jax.lax.scan(step, jnp.ones_like(wanted), length=iterations)[0]


@checked
def mel_envelope(mel: ArrayLike, bank: NonNegative[ArrayLike]) -> Array:
    """The mean magnitude of each filter, interpolated to all bins: ``(mel / sum_k B[k]) B' / sum_i B[:, i]``.

    A constant spectrum is its own envelope. Bins outside all filters get the value of the nearest bin within one.

    Args:
      mel: mel spectrogram of magnitudes, ``(..., num_mels)``.
      bank: filter bank B ``(N // 2 + 1, num_mels)``, >= 0, from :func:`mel_filter_bank`; concrete.

    >>> bank = mel_filter_bank(8000, 256, 40, f_min=100.0)
    >>> bool(jnp.allclose(mel_envelope(3.0 * bank.sum(0), bank), 3.0))
    True
    """
    mel, _ = _check(mel, bank)
    weights = np.asarray(bank, np.float64)
    covered = np.flatnonzero(weights.sum(1) > 0)
    nearest = covered[np.abs(np.arange(len(weights))[:, None] - covered).argmin(1)]
    interpolation = (weights / np.maximum(weights.sum(1, keepdims=True), _TINY)).T[:, nearest]
    return jnp.matmul(mel, jnp.asarray(interpolation / weights.sum(0)[:, None], mel.dtype), precision="highest")


def _check(mel: ArrayLike, bank: ArrayLike) -> tuple[Array, Array]:
    mel, shape = jnp.asarray(mel), jnp.shape(bank)
    mel = wide(mel)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"bank must be (bins, num_mels) and not empty, got {shape}")
    if mel.ndim < 1 or mel.shape[-1] != shape[1] or not mel.size:
        raise ValueError(f"mel must be (..., num_mels) for a bank (bins, num_mels) of shape {shape}, got {mel.shape}")
    return mel, jnp.asarray(bank, mel.dtype)

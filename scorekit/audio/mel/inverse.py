"""Inversion of mel spectrograms: magnitudes, spectral envelopes, and filters that match a mel spectrogram.

A bank has fewer filters than the transform has bins, so that the magnitudes are not determined.
:func:`magnitude_from_mel` is a non-negative least-squares fit, for :func:`scorekit.audio.griffin_lim`;
:func:`mel_envelope` interpolates the mean magnitude of each filter, smooth and positive where the mel spectrogram is.
:func:`match_mel` matches the mel spectrogram of a signal to a given one by time-varying gains, :func:`apply_gains`.

Args:
  bank: filter bank B ``(N // 2 + 1, num_mels)``, >= 0 and concrete, from :func:`scorekit.audio.mel_filter_bank`.
  x: signals ``(..., length)``.
  window: window ``(N,)``, concrete.
  hop: samples from one frame to the next.
  mel: mel spectrogram of magnitudes, ``(..., frames, num_mels)``.

Returns:
  A signal shaped like ``x``, or a spectrum ``(..., frames, N // 2 + 1)`` in the units of ``mel``.

>>> from scorekit.audio.mel import mel_filter_bank
>>> from scorekit.audio.stft import hann
>>> x, window = jax.random.normal(jax.random.key(0), (1000,)), hann(256)
>>> bank = mel_filter_bank(8000, 256, 40, f_min=100.0)
>>> bool(jnp.allclose(magnitude_from_mel(bank.sum(0), bank) @ bank, bank.sum(0), rtol=1e-3))
True
>>> bool(jnp.allclose(mel_envelope(3.0 * bank.sum(0), bank), 3.0))
True
>>> bool(jnp.allclose(apply_gains(x, jnp.full((17, 129), 0.5), window, 64), x / 2, atol=1e-5))
True
>>> mel = mel_spectrogram(x, bank, window, 64)
>>> bool(jnp.allclose(match_mel(0.1 * x, mel, bank, window, 64), x, atol=1e-4))
True
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, PositiveScalar, checked
from scorekit.audio.mel.spectrograms import mel_spectrogram
from scorekit.audio.stft import istft, stft
from scorekit.checks import check_at_least
from scorekit.typing import Array, ArrayLike

__all__ = ["apply_gains", "magnitude_from_mel", "match_mel", "mel_envelope"]

_TINY = 1e-30


@checked
def magnitude_from_mel(mel: ArrayLike, bank: ArrayLike, *, iterations: PositiveInt = 100) -> Array:
    """Non-negative magnitudes ``h`` whose mel spectrogram ``h B`` approximates a given one in least squares.

    ``h <- h (mel B') / (h B B')``, starting at ``h = 1``: no step increases ``|h B - mel|``. 0 in bins outside all
    filters.

    Args:
      mel: mel spectrogram of magnitudes (or of powers, which are then returned), ``(..., num_mels)``, >= 0; a traced
        value below gives NaN.
      iterations: number of steps.

    Source: Lee and Seung 2001, "Algorithms for non-negative matrix factorization", with one factor fixed.
    """
    check_at_least(0, mel=mel)
    mel, bank = _check(mel, bank)
    mel = jnp.where(mel >= 0, mel, jnp.nan)
    product = lambda a, b: jnp.matmul(a, b, precision="highest")
    wanted = product(mel, bank.T)

    def step(h: Array, _) -> tuple[Array, None]:
        return h * wanted / jnp.maximum(product(product(h, bank), bank.T), _TINY), None

    return jax.lax.scan(step, jnp.ones_like(wanted), length=iterations)[0]


def mel_envelope(mel: ArrayLike, bank: ArrayLike) -> Array:
    """The mean magnitude of each filter, interpolated to all bins: ``(mel / sum_k B[k]) B' / sum_i B[:, i]``.

    A constant spectrum is its own envelope. Bins outside all filters get the value of the nearest bin within one.
    """
    mel, _ = _check(mel, bank)
    weights = np.asarray(bank, np.float64)
    covered = np.flatnonzero(weights.sum(1) > 0)
    nearest = covered[np.abs(np.arange(len(weights))[:, None] - covered).argmin(1)]
    interpolation = (weights / np.maximum(weights.sum(1, keepdims=True), _TINY)).T[:, nearest]
    return jnp.matmul(mel, jnp.asarray(interpolation / weights.sum(0)[:, None], mel.dtype), precision="highest")


@checked
def apply_gains(x: ArrayLike, gains: ArrayLike, window: ArrayLike, hop: PositiveInt) -> Array:
    """A time-varying filter: ``istft(gains * stft(x))``. For smooth gains ``1 / gains`` is nearly its inverse.

    Args:
      gains: gains ``(..., frames, N // 2 + 1)``, or ``(N // 2 + 1,)`` for all frames.

    Source: Feichtinger and Nowak 2003, "A first survey of Gabor multipliers".
    """
    x, spectrum = jnp.asarray(x), stft(x, window, hop)
    shape, (frames, bins) = jnp.shape(gains), spectrum.shape[-2:]
    if shape[-1:] != (bins,) or shape[-2:-1] not in ((), (1,), (frames,)):
        raise ValueError(f"gains must be ({bins},) or (..., {frames}, {bins}), as the spectrum of x, got {shape}")
    return istft(spectrum * gains, window, hop, x.shape[-1])


@checked
def match_mel(
    x: ArrayLike, mel: ArrayLike, bank: ArrayLike, window: ArrayLike, hop: PositiveInt, *, floor: PositiveScalar = 1e-5
) -> Array:
    """Filters a signal by the ratio of a given mel envelope and its own, to match a mel spectrogram.

    Its phases and its details within filters stay.

    Args:
      floor: smallest value of mel spectrograms when their envelopes are compared.
    """
    envelope = lambda m: mel_envelope(jnp.maximum(m, floor), bank)
    own = mel_spectrogram(x, bank, window, hop)
    if jnp.shape(mel)[-2:] != own.shape[-2:]:
        wanted = ", ".join(map(str, own.shape[-2:]))
        raise ValueError(f"mel must be (..., {wanted}), the frames of x and the filters, got {jnp.shape(mel)}")
    return apply_gains(x, envelope(jnp.asarray(mel)) / envelope(own), window, hop)


def _check(mel: ArrayLike, bank: ArrayLike) -> tuple[Array, Array]:
    mel, shape = jnp.asarray(mel), jnp.shape(bank)
    mel = mel.astype(jnp.promote_types(mel.dtype, jnp.float32))
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"bank must be (bins, num_mels) and not empty, got {shape}")
    check_at_least(0, bank=bank)
    if mel.ndim < 1 or mel.shape[-1] != shape[1] or not mel.size:
        raise ValueError(f"mel must be (..., num_mels) for a bank (bins, num_mels) of shape {shape}, got {mel.shape}")
    return mel, jnp.asarray(bank, mel.dtype)

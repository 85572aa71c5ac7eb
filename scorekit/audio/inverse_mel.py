"""From a mel spectrogram back: magnitudes that have it, the envelope that it tells, and signals made to have it.

A bank has fewer filters than the transform has bins, so that the magnitudes are not determined. Two answers are here:
:func:`magnitude_from_mel` finds magnitudes with nearly this mel spectrogram, for :func:`scorekit.audio.griffin_lim`;
:func:`mel_envelope` spreads each filter's mean magnitude over its bins, smooth and never zero where the mel is not.
A signal multiplied by gains over time and frequency, :func:`apply_gains`, is brought to a given mel spectrogram by
:func:`match_mel`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.audio.mel import mel_spectrogram
from scorekit.audio.stft import istft, stft
from scorekit.typing import Array, ArrayLike

_TINY = 1e-30


def magnitude_from_mel(mel: ArrayLike, bank: ArrayLike, *, iterations: int = 100) -> Array:
    """Non-negative magnitudes ``h`` whose mel spectrogram ``h B`` is nearly the given one, in least squares.

    ``h <- h (mel B') / (h B B')``, from ``h`` = 1 everywhere: no step makes ``|h B - mel|`` larger.

    Args:
      mel: of magnitudes (or of powers, which are then returned), ``(..., num_mels)``, >= 0.
      bank: B ``(bins, num_mels)``, >= 0, from :func:`scorekit.audio.mel_filter_bank`.
      iterations: the number of steps, >= 1.

    Returns:
      ``(..., bins)``; 0 in the bins of no filter.

    Raises:
      ValueError: if the shapes do not fit or ``iterations < 1``.

    Source: Lee and Seung 2001, "Algorithms for non-negative matrix factorization", theorem 1, with one factor fixed.

    >>> from scorekit.audio.mel import mel_filter_bank
    >>> bank = mel_filter_bank(8000, 256, 40)
    >>> mel = jnp.ones(129) @ bank
    >>> bool(jnp.allclose(magnitude_from_mel(mel, bank) @ bank, mel, rtol=1e-3))
    True
    """
    if iterations < 1:
        raise ValueError(f"iterations must be an integer >= 1, got {iterations}")
    mel, bank = _check(mel, bank)
    product = lambda a, b: jnp.matmul(a, b, precision="highest")
    wanted = product(mel, bank.T)

    def step(h: Array, _) -> tuple[Array, None]:
        return h * wanted / jnp.maximum(product(product(h, bank), bank.T), _TINY), None

    return jax.lax.scan(step, jnp.ones_like(wanted), length=iterations)[0]


def mel_envelope(mel: ArrayLike, bank: ArrayLike) -> Array:
    """The mean magnitude under each filter, spread over its bins: ``(mel / sum_k B[k]) B' / sum_i B[:, i]``.

    A spectrum that is the same in all bins is its own envelope. Bins of no filter have that of the nearest bin that has
    one.

    Args:
      mel: ``(..., num_mels)``.
      bank: B ``(bins, num_mels)``, concrete, from :func:`scorekit.audio.mel_filter_bank`.

    Returns:
      ``(..., bins)``, in units of the magnitudes.

    Raises:
      ValueError: if the shapes do not fit.

    >>> from scorekit.audio.mel import mel_filter_bank
    >>> bank = mel_filter_bank(8000, 256, 40, f_min=100.0)
    >>> bool(jnp.allclose(mel_envelope(3.0 * bank.sum(0), bank), 3.0))
    True
    """
    mel, _ = _check(mel, bank)
    weights = np.asarray(bank, np.float64)
    heard = np.flatnonzero(weights.sum(1) > 0)
    nearest = heard[np.abs(np.arange(len(weights))[:, None] - heard).argmin(1)]
    spread = (weights / np.maximum(weights.sum(1, keepdims=True), _TINY)).T[:, nearest]
    return jnp.matmul(mel, jnp.asarray(spread / weights.sum(0)[:, None], mel.dtype), precision="highest")


def apply_gains(x: ArrayLike, gains: ArrayLike, window: ArrayLike, hop: int) -> Array:
    """A filter that changes from frame to frame: ``istft(gains * stft(x))``.

    Args:
      x: the signal ``(..., length)``.
      gains: ``(..., frames, N // 2 + 1)``.
      window: ``(N,)``, concrete.
      hop: samples from one frame to the next.

    Returns:
      A signal shaped like ``x``. Where neighbouring gains differ little, gains ``1 / g`` undo gains ``g``.

    Source: Feichtinger and Nowak 2003, "A first survey of Gabor multipliers".

    >>> from scorekit.audio.stft import hann
    >>> x = jax.random.normal(jax.random.key(0), (1000,))
    >>> bool(jnp.allclose(apply_gains(x, jnp.full((17, 129), 0.5), hann(256), 64), x / 2, atol=1e-5))
    True
    """
    x = jnp.asarray(x)
    return istft(stft(x, window, hop) * gains, window, hop, x.shape[-1])


def match_mel(
    x: ArrayLike, mel: ArrayLike, bank: ArrayLike, window: ArrayLike, hop: int, *, floor: float = 1e-5
) -> Array:
    """Brings a signal near a mel spectrogram by gains: the ratio of the two envelopes, once.

    Args:
      x: the signal ``(..., length)``.
      mel: of magnitudes, ``(..., frames, num_mels)``.
      bank: ``(N // 2 + 1, num_mels)``, concrete.
      window: ``(N,)``, concrete.
      hop: samples from one frame to the next.
      floor: mel spectrograms are raised to it before their envelopes are compared, > 0.

    Returns:
      A signal shaped like ``x``. What ``x`` has within a filter, and its phases, stay.

    Raises:
      ValueError: if the shapes do not fit.

    >>> from scorekit.audio.mel import mel_filter_bank
    >>> from scorekit.audio.stft import hann
    >>> x, bank = jax.random.normal(jax.random.key(0), (1000,)), mel_filter_bank(8000, 256, 40, f_min=100.0)
    >>> mel = mel_spectrogram(x, bank, hann(256), 64)
    >>> bool(jnp.allclose(match_mel(0.1 * x, mel, bank, hann(256), 64), x, atol=1e-4))
    True
    """
    raised = lambda m: mel_envelope(jnp.maximum(m, floor), bank)
    own = mel_spectrogram(x, bank, window, hop)
    return apply_gains(x, raised(jnp.asarray(mel)) / raised(own), window, hop)


def _check(mel: ArrayLike, bank: ArrayLike) -> tuple[Array, Array]:
    mel, shape = jnp.asarray(mel), jnp.shape(bank)
    mel = mel.astype(jnp.promote_types(mel.dtype, jnp.float32))
    if mel.ndim < 1 or len(shape) != 2 or mel.shape[-1] != shape[1]:
        raise ValueError(f"mel must be (..., num_mels) for a bank (bins, num_mels) of shape {shape}, got {mel.shape}")
    return mel, jnp.asarray(bank, mel.dtype)

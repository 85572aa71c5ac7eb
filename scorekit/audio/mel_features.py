"""Log-mel features: scaled to unit variance, as a condition of a network, with its inverses; and statistics of clips.

Statistics need no trained network, so that Fréchet distances between sets of sounds are reproducible. Distances at
different sample rates are not comparable: the bands extend to half the sample rate.
"""

import math
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, Finite, NonNegative, Positive, PositiveInt, checked
from scorekit.audio._checks import MAGNITUDE_OFFSET, FftSize
from scorekit.audio.fourier import hann
from scorekit.audio.mel_spectrograms import log_mel, magnitude_from_mel, mel_envelope, mel_filter_bank, mel_spectrogram
from scorekit.typing import Array, ArrayLike

_MEL_FLOOR = 1e-5  # the smallest value of a mel spectrogram before its logarithm is taken
_MEL_LOG_MEAN, _MEL_LOG_STD = -6.0, 3.0
_MAGNITUDE_LOG_MEAN, _MAGNITUDE_LOG_STD = -3.0, 3.0


class LogMel(NamedTuple):
    """Log-mel features of one filter bank, window and hop, made by :func:`make_log_mel`.

    Attributes:
      bank: mel filter bank ``(bins, num_mels)``.
      window: window ``(fft_size,)``.
      hop: samples from one frame to the next.

    >>> features = make_log_mel(8000)
    >>> encoded = features.encode(jnp.zeros((2, 1024)))
    >>> images = features.images(encoded)
    >>> encoded.shape, features.mel(encoded).shape, features.envelope(encoded).shape
    ((2, 17, 40), (2, 17, 40), (2, 16, 128))
    >>> images.shape, features.log_envelope(images).shape
    ((2, 16, 128, 2), (2, 16, 128))
    """

    bank: np.ndarray
    window: np.ndarray
    hop: int

    def encode(self, sound: ArrayLike) -> Array:
        """The features ``(log(max(mel, 1e-5)) + 6) / 3``, ``(B, 1 + ceil(L / hop), num_mels)``.

        Args:
          sound: sounds ``(B, L)``, full scale [-1, 1].
        """
        return (log_mel(sound, self.bank, self.window, self.hop, floor=_MEL_FLOOR) - _MEL_LOG_MEAN) / _MEL_LOG_STD

    def mel(self, encoded: Array) -> Array:
        """The mel spectrogram of encoded features: ``exp(3 encoded - 6)``, ``(B, frames, num_mels)``.

        Args:
          encoded: features ``(B, frames, num_mels)`` from :meth:`LogMel.encode`.
        """
        return jnp.exp(_MEL_LOG_STD * encoded + _MEL_LOG_MEAN)

    def envelope(self, encoded: Array) -> Array:
        """The spectral envelope of encoded features (:func:`scorekit.audio.mel_envelope`), ``(B, L / hop, N / 2)``.

        Args:
          encoded: features ``(B, frames, num_mels)`` from :meth:`LogMel.encode`.
        """
        return mel_envelope(self.mel(encoded), self.bank)[..., :-1, :-1]

    def images(self, encoded: Array) -> Array:
        """The envelope and the least-squares magnitudes of the mel spectrogram, as an image of two channels.

        ``(log(y + 3e-4) + 3) / 3`` of :meth:`envelope` and of :func:`scorekit.audio.magnitude_from_mel`, ``(B, L / hop,
        N / 2, 2)``.

        Args:
          encoded: features ``(B, frames, num_mels)`` from :meth:`LogMel.encode`.
        """
        nearest = magnitude_from_mel(self.mel(encoded), self.bank, iterations=50)[..., :-1, :-1]
        both = jnp.stack([self.envelope(encoded), nearest], axis=-1)
        return (jnp.log(both + MAGNITUDE_OFFSET) - _MAGNITUDE_LOG_MEAN) / _MAGNITUDE_LOG_STD

    def log_envelope(self, images: Array) -> Array:
        """``log(envelope + 3e-4)`` in nepers, recovered from :meth:`images`, ``(B, L / hop, N / 2)``.

        Args:
          images: images ``(B, L / hop, N / 2, 2)`` from :meth:`LogMel.images`.
        """
        return _MAGNITUDE_LOG_STD * images[..., 0] + _MAGNITUDE_LOG_MEAN


@checked
def make_log_mel(
    sample_rate: Positive[float],
    num_mels: PositiveInt = 40,
    fft_size: FftSize = 256,
    hop: PositiveInt = 64,
    f_min: NonNegative[float] = 40.0,
) -> LogMel:
    """Log-mel features with Slaney's filters up to half the sample rate and a Hann window.

    Args:
      sample_rate: sample rate in Hz.
      num_mels: number of filters.
      fft_size: length of the window and of the Fourier transform, in samples.
      hop: samples from one frame to the next.
      f_min: lowest corner of the filters, in Hz.

    Returns:
      The :class:`LogMel`.

    >>> isinstance(make_log_mel(8000), LogMel)
    True
    """
    return LogMel(mel_filter_bank(sample_rate, fft_size, num_mels=num_mels, f_min=f_min), hann(fft_size), hop)


_WINDOW = 0.064  # the Hann window in seconds; the hop is a quarter of it, the transform at least twice as long
_BANDS = 48
_LOWEST_HZ = 40.0
_FLOOR_DB = -80.0  # smallest level of a band, relative to a full-scale sine


@checked
def log_mel_frames(
    x: ArrayLike, sample_rate: Annotated[float, Between(1000)], *, floor_db: Finite[float] = _FLOOR_DB
) -> Array:
    """Log-amplitudes of 48 bands of Slaney's mel scale, from 40 Hz to half the sample rate, in nepers.

    ``log max(sum_k w_bk |X[m, k]|, floor)`` with triangles ``w`` of height 1 and magnitudes scaled so that a sine of
    amplitude 1 has magnitude 1 in its bin; windows of 64 ms, hops of 16 ms.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      sample_rate: sample rate in Hz.
      floor_db: smallest level of a band, relative to a full-scale sine.

    Returns:
      Bands ``(..., frames, 48)``; 1 neper is 8.69 dB.

    >>> silence = log_mel_frames(jnp.zeros(4000), 4000)
    >>> silence.shape, round(float(silence.max()), 3)  # log 1e-4
    ((64, 48), -9.21)
    """
    length = round(_WINDOW * sample_rate)
    window = hann(length, 2 ** math.ceil(math.log2(2 * length)))
    bank = mel_filter_bank(sample_rate, len(window), _BANDS, f_min=_LOWEST_HZ, norm=None)
    bands = mel_spectrogram(x, bank * (2.0 / window.sum()), window, length // 4)
    return jnp.log(jnp.maximum(bands, 10.0 ** (floor_db / 20.0)))


@checked
def log_mel_statistics(x: ArrayLike, sample_rate: Annotated[float, Between(1000)]) -> Array:
    """The mean and the standard deviation over time of :func:`log_mel_frames`: the timbre of a clip in 96 values.

    The Fréchet distance of these features (:func:`scorekit.metrics.frechet_distance`) is in squared nepers, summed over
    them.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      sample_rate: sample rate in Hz.

    Returns:
      48 means, then 48 standard deviations, ``(..., 96)``.

    >>> x = jnp.sin(2 * jnp.pi * 440 / 4000 * jnp.arange(4000.0))
    >>> quieter = log_mel_statistics(0.1 * x, 4000) - log_mel_statistics(x, 4000)
    >>> round(float(quieter[:48].min()), 2)  # log 0.1, in the bands above the floor
    -2.3
    """
    frames = log_mel_frames(x, sample_rate)
    return jnp.concatenate([jnp.mean(frames, axis=-2), jnp.std(frames, axis=-2)], axis=-1)

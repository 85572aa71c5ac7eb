"""Log-mel features: the log-mel spectrogram scaled to unit variance, as a condition of a network, and its inverses.

Args:
  encoded: features ``(B, frames, num_mels)`` from :meth:`LogMel.encode`.
  hop: samples from one frame to the next.
  sound: sounds ``(B, L)``, full scale [-1, 1].
  images: images ``(B, L / hop, N / 2, 2)`` from :meth:`LogMel.images`.

Returns:
  Arrays of unit order for music, with N the ``fft_size``: envelopes have neither the last frame nor the Nyquist bin.

>>> isinstance(make_log_mel(16000, num_mels=32), LogMel)
True
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegativeScalar, PositiveInt, checked
from scorekit.audio._checks import FftSize, Rate
from scorekit.audio._common import MAGNITUDE_OFFSET
from scorekit.audio.mel.inverse import magnitude_from_mel, mel_envelope
from scorekit.audio.mel.spectrograms import log_mel, mel_filter_bank
from scorekit.audio.stft import hann
from scorekit.typing import Array, ArrayLike

__all__ = ["LogMel", "make_log_mel"]

_MEL_FLOOR = 1e-5
"""The smallest value of a mel spectrogram before its logarithm is taken."""
_MEL_LOG_MEAN, _MEL_LOG_STD = -6.0, 3.0
_MAGNITUDE_LOG_MEAN, _MAGNITUDE_LOG_STD = -3.0, 3.0


class LogMel(NamedTuple):
    """Log-mel features of one filter bank, window and hop, made by :func:`make_log_mel`.

    Attributes:
      bank: mel filter bank ``(bins, num_mels)``.
      window: window ``(fft_size,)``.

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
        """The features ``(log(max(mel, 1e-5)) + 6) / 3``, ``(B, 1 + ceil(L / hop), num_mels)``."""
        return (log_mel(sound, self.bank, self.window, self.hop, floor=_MEL_FLOOR) - _MEL_LOG_MEAN) / _MEL_LOG_STD

    def mel(self, encoded: Array) -> Array:
        """The mel spectrogram of encoded features: ``exp(3 encoded - 6)``, ``(B, frames, num_mels)``."""
        return jnp.exp(_MEL_LOG_STD * encoded + _MEL_LOG_MEAN)

    def envelope(self, encoded: Array) -> Array:
        """The spectral envelope of encoded features (:func:`scorekit.audio.mel_envelope`), ``(B, L / hop, N / 2)``."""
        return mel_envelope(self.mel(encoded), self.bank)[..., :-1, :-1]

    def images(self, encoded: Array) -> Array:
        """The envelope and the least-squares magnitudes of the mel spectrogram, as an image of two channels.

        ``(log(y + 3e-4) + 3) / 3`` of :meth:`envelope` and of :func:`scorekit.audio.magnitude_from_mel`, ``(B, L / hop,
        N / 2, 2)``.
        """
        nearest = magnitude_from_mel(self.mel(encoded), self.bank, iterations=50)[..., :-1, :-1]
        both = jnp.stack([self.envelope(encoded), nearest], axis=-1)
        return (jnp.log(both + MAGNITUDE_OFFSET) - _MAGNITUDE_LOG_MEAN) / _MAGNITUDE_LOG_STD

    def log_envelope(self, images: Array) -> Array:
        """``log(envelope + 3e-4)`` in nepers, recovered from :meth:`images`, ``(B, L / hop, N / 2)``."""
        return _MAGNITUDE_LOG_STD * images[..., 0] + _MAGNITUDE_LOG_MEAN


@checked
def make_log_mel(
    sample_rate: Rate,
    num_mels: PositiveInt = 40,
    fft_size: FftSize = 256,
    hop: PositiveInt = 64,
    f_min: NonNegativeScalar = 40.0,
) -> LogMel:
    """Log-mel features with Slaney's filters up to half the sample rate and a Hann window.

    Args:
      sample_rate: sample rate in Hz.
      num_mels: number of filters.
      fft_size: length of the window and of the Fourier transform, in samples.
      f_min: lowest corner of the filters, in Hz.
    """
    return LogMel(mel_filter_bank(sample_rate, fft_size, num_mels=num_mels, f_min=f_min), hann(fft_size), hop)

"""The log-mel spectrogram as networks are told it, in one place: what it is made from, and the way back."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from scorekit import audio
from scorekit.typing import Array

FLOOR = 1e-5
SOFT = 3e-4
"""Added to magnitudes of the transform before logarithms are taken; a sine of amplitude 1 has ``fft_size / 4``."""
_CENTRE, _SPREAD = -6.0, 3.0
"""``(log(mel) - centre) / spread`` is of unit order for music."""


class LogMel(NamedTuple):
    """A bank ``(bins, num_mels)`` with its window and hop."""

    bank: np.ndarray
    window: np.ndarray
    hop: int

    def told(self, sound: Array) -> Array:
        """What the network is told of sounds ``(B, L)`` at full scale 1: ``(B, 1 + ceil(L / hop), num_mels)``."""
        return (audio.log_mel(sound, self.bank, self.window, self.hop, floor=FLOOR) - _CENTRE) / _SPREAD

    def mel(self, told: Array) -> Array:
        """The mel spectrogram, no less than 1e-5, from what is told."""
        return jnp.exp(_SPREAD * told + _CENTRE)

    def envelope(self, told: Array) -> Array:
        """The envelope that it tells, ``(B, L / hop, fft_size / 2)``: by frames and bins without the last of each."""
        return audio.mel_envelope(self.mel(told), self.bank)[..., :-1, :-1]

    def images(self, told: Array) -> Array:
        """The envelope and the non-negative magnitudes nearest to the mel, as two images of unit order."""
        nearest = audio.magnitude_from_mel(self.mel(told), self.bank, iterations=50)[..., :-1, :-1]
        both = jnp.stack([self.envelope(told), nearest], axis=-1)
        return (jnp.log(both + SOFT) + 3.0) / 3.0

    def log_envelope(self, images: Array) -> Array:
        """``log(envelope + 3e-4)`` from the images."""
        return 3.0 * images[..., 0] - 3.0


def log_mel(
    sample_rate: int | None, num_mels: int = 40, fft_size: int = 256, hop: int = 64, f_min: float = 40.0
) -> LogMel:
    """Windows of ``fft_size`` samples, and Slaney's filters from ``f_min`` to half the sample rate."""
    if sample_rate is None:
        raise ValueError("name must be that of a map of this data set, which has no sound, got log_mel")
    bank = audio.mel_filter_bank(sample_rate, fft_size, num_mels=num_mels, f_min=f_min)
    return LogMel(bank, audio.hann(fft_size), hop)

"""Spectrograms as greyscale images for figures and reports."""

import jax.numpy as jnp
import numpy as np

from scorekit.audio._checks import check_signal
from scorekit.audio.stft import hann, magnitude, stft
from scorekit.typing import ArrayLike

__all__ = ["spectrogram_images"]


def spectrogram_images(sounds: ArrayLike) -> np.ndarray:
    """Decibel spectrograms of sounds as greyscale images, low frequencies at the bottom.

    Args:
      sounds: sounds ``(N, L)``, full scale [-1, 1].

    Returns:
      ``(N, bins, frames, 1)`` in [-1, 1]: a range of 80 dB below a sine of amplitude 1. The window is the power of two
      nearest to L / 16, at least 64 samples. NaN in a sound gives NaN in its image.

    >>> spectrogram_images(np.zeros((2, 1024))).shape
    (2, 33, 65, 1)
    """
    check_signal("(N, L)", sounds=sounds)
    sounds = jnp.asarray(sounds)
    size = max(64, 2 ** round(np.log2(sounds.shape[1] / 16)))
    decibels = 20 * jnp.log10(magnitude(stft(sounds, hann(size), size // 4)) + 1e-9)
    return np.asarray(jnp.clip((decibels - 20 * np.log10(size / 4)) / 40 + 1, -1, 1)).transpose(0, 2, 1)[
        :, ::-1, :, None
    ]

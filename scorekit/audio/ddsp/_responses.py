"""The impulse responses of the filters of noise."""

import jax.numpy as jnp

from scorekit.audio.stft import hann
from scorekit.typing import Array


def impulse_response(bands: Array) -> Array:
    """The responses ``(..., 2 (K - 1))`` of filters with magnitudes ``(..., K)``; the middle tap is at time 0."""
    taps = 2 * (bands.shape[-1] - 1)
    return jnp.roll(jnp.fft.irfft(bands, taps), taps // 2, -1) * jnp.asarray(hann(taps), jnp.float32)

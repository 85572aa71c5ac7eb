"""Noise with a spectrum that changes from frame to frame, and reverberation."""

import jax
import jax.numpy as jnp

from scorekit.arguments import PositiveInt, checked
from scorekit.audio._checks import check_signal
from scorekit.audio.ddsp._responses import impulse_response
from scorekit.audio.stft import num_frames, overlap_add
from scorekit.checks import check, check_floating
from scorekit.typing import Array, ArrayLike, Key

__all__ = ["filtered_noise", "reverberate"]


@checked
def filtered_noise(key: Key, bands: ArrayLike, hop: PositiveInt, length: PositiveInt) -> Array:
    """White noise through a filter for each frame, whose magnitudes are given at equally spaced frequencies.

    The impulse response of frame ``m`` is ``hann irfft(bands[m])``, of zero phase and ``2 (K - 1)`` taps; it filters
    the noise of the ``hop`` samples around sample ``m hop``, and the results are added.

    Args:
      key: PRNG key of the noise, which is standard normal.
      bands: magnitudes ``(..., frames, K)``, K >= 2, >= 0, at 0 to half the sample rate, both included; ``frames = 1 +
        ceil(length / hop)``.
      hop: samples from one frame to the next.
      length: number of samples of the result.

    Returns:
      float32 ``(..., length)``; for constant bands its power spectrum is the one of the filter, ``|H|^2``.

    >>> noise = filtered_noise(jax.random.key(0), jnp.ones((5, 9)), 100, 400)
    >>> noise.shape
    (400,)
    """
    check_signal("(..., frames, K)", bands=bands)
    check(lambda b: jnp.isfinite(b) & (b >= 0), "finite and >= 0", bands=bands)
    bands = jnp.asarray(bands, jnp.float32)
    frames, count = bands.shape[-2:]
    if count < 2 or frames != num_frames(length, hop):
        expected = f"(..., {num_frames(length, hop)}, K) with K >= 2"
        raise ValueError(f"bands must be {expected} for a length of {length} and a hop of {hop}, got {bands.shape}")
    noise = jax.random.normal(key, (*bands.shape[:-2], frames, hop))
    response = impulse_response(bands)
    taps = response.shape[-1]
    size = hop + taps - 1
    pieces = jnp.fft.irfft(jnp.fft.rfft(noise, size) * jnp.fft.rfft(response, size), size)
    start = hop // 2 + taps // 2  # the first frame is centred on sample 0
    return overlap_add(pieces, hop)[..., start : start + length]


def reverberate(x: ArrayLike, response: ArrayLike) -> Array:
    """A sound in a room: ``y[n] = sum_m response[m] x[n - m]``, cut to the length of x.

    Args:
      x: the dry sound ``(..., length)``.
      response: the impulse response ``(..., taps)``, learned or recorded; ``response[0]`` is the direct sound.

    Returns:
      Floating ``(..., length)``, of the broadcast leading axes.

    >>> reverberate(jnp.array([1.0, 0.0, 2.0]), jnp.array([1.0, 0.5])).round(3).tolist()
    [1.0, 0.5, 2.0]
    """
    check_signal(x=x)
    check_signal("(..., taps)", response=response)
    check_floating(x=x, response=response)
    x, response = jnp.asarray(x), jnp.asarray(response)
    try:
        jnp.broadcast_shapes(x.shape[:-1], response.shape[:-1])
    except ValueError:
        raise ValueError(f"response must broadcast with x {x.shape}, got {response.shape}") from None
    size = x.shape[-1] + response.shape[-1] - 1
    return jnp.fft.irfft(jnp.fft.rfft(x, size) * jnp.fft.rfft(response, size), size)[..., : x.shape[-1]]

"""Resampling by integer factors: band-limited, differentiable, on the device.

Both directions work in the Fourier domain of the full clip, which is periodic, and preserve the band below half the low
rate exactly. The Nyquist frequency of the low rate is set to zero. ``high_rate(low_rate(x))`` is the orthogonal
projection on the band, and ``low_rate(high_rate(y))`` is ``y`` without its Nyquist frequency. For other ratios, and
without periodicity: :func:`scorekit.audio.files.resample`.
"""

import jax.numpy as jnp

from scorekit.arguments import PositiveInt, checked
from scorekit.audio._checks import check_signal
from scorekit.typing import Array, ArrayLike


@checked
def low_rate(x: ArrayLike, factor: PositiveInt) -> Array:
    """The band below ``1 / (2 factor)`` cycles per sample, at ``1 / factor`` of the sample rate.

    Args:
      x: signals ``(..., L)``, real.
      factor: ratio of the sample rates; divides L.

    Returns:
      Signals ``(..., L / factor)``; amplitudes are preserved.

    >>> x = jnp.cos(2 * jnp.pi * 3 / 64 * jnp.arange(64))
    >>> bool(jnp.allclose(low_rate(x, 4), x[::4], atol=1e-5))
    True
    """
    check_signal("(..., L)", x=x)
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
    length = x.shape[-1]
    if length % factor:
        raise ValueError(f"factor must divide the length of x (..., L), got {factor} for shape {x.shape}")
    return _resized(x, length // factor, length // factor)


@checked
def high_rate(y: ArrayLike, factor: PositiveInt) -> Array:
    """The signal at ``factor`` times the sample rate, with an empty band above half the old rate.

    Args:
      y: signals ``(..., M)``, real.
      factor: ratio of the sample rates.

    Returns:
      Signals ``(..., M factor)``; amplitudes are preserved.

    >>> x = jnp.cos(2 * jnp.pi * 3 / 64 * jnp.arange(64))
    >>> bool(jnp.allclose(high_rate(x[::4], 4), x, atol=1e-5))
    True
    """
    check_signal("(..., M)", y=y)
    y = jnp.asarray(y)
    y = y if jnp.issubdtype(y.dtype, jnp.floating) else y.astype(jnp.float32)
    return _resized(y, y.shape[-1] * factor, y.shape[-1])


def _resized(x: Array, length: int, low: int) -> Array:
    """Resamples ``x`` to ``length`` samples, keeping the frequencies below ``low / 2``."""
    bins = (low + 1) // 2  # of the frequencies below half the low rate, 0 included
    spectrum = jnp.fft.rfft(x)[..., :bins] * (length / x.shape[-1])
    rest = length // 2 + 1 - bins
    return jnp.fft.irfft(jnp.pad(spectrum, [(0, 0)] * (x.ndim - 1) + [(0, rest)]), length).astype(x.dtype)

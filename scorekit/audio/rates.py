"""A signal at a whole fraction of its sample rate, and back: band-limited, differentiable, on the device.

Both directions work in the Fourier domain of the whole clip, so the clip wraps around its ends, and the band below half
the low rate is kept exactly. The single frequency of half the low rate, which a real signal of that rate holds by half
only, is left out. ``high_rate(low_rate(x))`` is the orthogonal projection on the band, and ``low_rate(high_rate(y))``
gives back ``y`` without that frequency. For other ratios, and without wrapping: :func:`scorekit.audio.files.resample`.
"""

import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike


def low_rate(x: ArrayLike, factor: int) -> Array:
    """The band below ``1 / (2 factor)`` cycles per sample, at ``1 / factor`` of the sample rate.

    Args:
      x: signals ``(..., L)``, real.
      factor: divides L.

    Returns:
      ``(..., L / factor)``, amplitudes kept.

    Raises:
      ValueError: if ``factor`` does not divide L.

    >>> x = jnp.cos(2 * jnp.pi * 3 / 64 * jnp.arange(64))
    >>> bool(jnp.allclose(low_rate(x, 4), x[::4], atol=1e-5))
    True
    """
    x = jnp.asarray(x)
    length = x.shape[-1] if x.ndim else 0
    if factor < 1 or not length or length % factor:
        raise ValueError(f"factor must divide the length of x (..., L), got {factor} for shape {x.shape}")
    return _resized(x, length // factor, length // factor)


def high_rate(y: ArrayLike, factor: int) -> Array:
    """The signal at ``factor`` times the sample rate that has nothing above half the old one.

    Args:
      y: signals ``(..., M)``, real.
      factor: at least 1.

    Returns:
      ``(..., M factor)``, amplitudes kept.

    Raises:
      ValueError: if ``factor`` is below 1.

    >>> x = jnp.cos(2 * jnp.pi * 3 / 64 * jnp.arange(64))
    >>> bool(jnp.allclose(high_rate(x[::4], 4), x, atol=1e-5))
    True
    """
    y = jnp.asarray(y)
    if factor < 1 or y.ndim < 1:
        raise ValueError(f"factor must be at least 1 and y (..., M), got {factor} and shape {y.shape}")
    return _resized(y, y.shape[-1] * factor, y.shape[-1])


def _resized(x: Array, length: int, low: int) -> Array:
    """``x`` at ``length`` samples, of the band below half of ``low``."""
    bins = (low + 1) // 2  # of the frequencies below half the low rate, 0 included
    spectrum = jnp.fft.rfft(x)[..., :bins] * (length / x.shape[-1])
    rest = length // 2 + 1 - bins
    return jnp.fft.irfft(jnp.pad(spectrum, [(0, 0)] * (x.ndim - 1) + [(0, rest)]), length).astype(x.dtype)

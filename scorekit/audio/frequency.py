"""The spectral representation of GANSynth: log-magnitude and instantaneous frequency, losslessly invertible.

The phase of a steady partial advances by the same angle from each frame to the next. Its instantaneous frequency, the
time difference of the unwrapped phase, is then constant while the phase itself looks like noise.

Source: Engel et al. 2019, "GANSynth: adversarial neural audio synthesis" (arXiv:1902.08710).
"""

import math

import jax
import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.audio._checks import check_signal
from scorekit.audio.fourier import from_polar, magnitude, phase
from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike


def _instantaneous_frequency(phase: Array) -> Array:
    """The phase increment from frame to frame in half turns, ``diff(unwrap(phase)) / pi``; first, the phase over pi."""
    turns = jnp.diff(phase, axis=-2, prepend=jnp.zeros_like(phase[..., :1, :])) / math.pi
    return _wrap(turns)


def _phase_from_frequency(frequency: Array) -> Array:
    """The inverse of :func:`_instantaneous_frequency`: ``phase[m] = pi sum_{n <= m} frequency[n]``, in radians.

    Partial sums are wrapped to [-pi, pi], so that rounding errors do not grow with the phase.
    """
    frequency = wide(frequency)
    add = lambda a, b: _wrap(a + b)
    return math.pi * _wrap(jax.lax.associative_scan(add, frequency, axis=frequency.ndim - 2))


@checked
def encode_spectrum(spectrum: ArrayLike, floor: Positive[float] = 1e-6) -> Array:
    """A spectrum as two real channels: ``log(|X| + floor)`` and the instantaneous frequency.

    Args:
      spectrum: complex spectrum ``(..., frames, bins)``, from :func:`scorekit.audio.stft`.
      floor: small magnitude, in the units of ``|X|``, that keeps the logarithm finite.

    >>> steady = from_polar(jnp.ones((3, 1)), jnp.array([[0.5], [2.5], [-1.783]]))  # 2 radians a frame, wrapped
    >>> [round(float(x) * math.pi, 3) for x in encode_spectrum(steady)[:, 0, 1]]
    [0.5, 2.0, 2.0]
    """
    if jnp.ndim(spectrum) < 2 or 0 in jnp.shape(spectrum):
        raise ValueError(f"spectrum must be (..., frames, bins) and not empty, got {jnp.shape(spectrum)}")
    channels = jnp.log(magnitude(spectrum) + floor), _instantaneous_frequency(phase(spectrum))
    return jnp.stack(channels, axis=-1)


@checked
def decode_spectrum(channels: ArrayLike, floor: Positive[float] = 1e-6) -> Array:
    """The inverse of :func:`encode_spectrum`, exact up to rounding: ``max(exp(a) - floor, 0) exp(i phase)``.

    ``a`` is the first channel, ``phase[m] = pi sum_{n <= m} frequency[n]`` of the second.

    Args:
      channels: log-magnitude in nepers and frequency, ``(..., frames, bins, 2)``.
      floor: small magnitude, in the units of ``|X|``, that keeps the logarithm finite.

    >>> x = jax.random.normal(jax.random.key(0), (7, 5), jnp.complex64)
    >>> bool(jnp.allclose(decode_spectrum(encode_spectrum(x)), x, atol=1e-5))
    True
    """
    check_signal("(..., frames, bins, 2)", channels=channels)
    if jnp.shape(channels)[-1] != 2:
        raise ValueError(f"channels must be (..., frames, bins, 2), got {jnp.shape(channels)}")
    channels = jnp.asarray(channels)
    size = jnp.maximum(jnp.exp(channels[..., 0]) - floor, 0.0)
    return from_polar(size, _phase_from_frequency(channels[..., 1]))


def _wrap(half_turns: Array) -> Array:
    """Wraps an angle to [-1, 1], with slope 1."""
    return half_turns - 2.0 * jnp.round(half_turns / 2.0)

"""The spectral representation of GANSynth: log-magnitude and instantaneous frequency, losslessly invertible.

The phase of a steady partial advances by the same angle from each frame to the next. Its instantaneous frequency, the
time difference of the unwrapped phase, is then constant while the phase itself looks like noise.

Args:
  floor: small magnitude, in the units of ``|X|``, that keeps the logarithm finite.
  phase: phase in radians, ``(..., frames, bins)``.
  frequency: instantaneous frequency in half turns a frame, ``(..., frames, bins)``.
  spectrum: complex spectrum ``(..., frames, bins)``, from :func:`scorekit.audio.stft`.
  channels: log-magnitude in nepers and frequency, ``(..., frames, bins, 2)``.

Returns:
  Arrays of the same frames: half turns a frame in [-1, 1], radians, channels, a complex spectrum, hertz.

>>> f = instantaneous_frequency(jnp.array([[0.5], [2.5], [-1.783]]))  # 2 radians a frame, wrapped
>>> [round(float(x) * math.pi, 3) for x in f[:, 0]], [round(float(x), 3) for x in phase_from_frequency(f)[:, 0]]
([0.5, 2.0, 2.0], [0.5, 2.5, -1.783])
>>> x = jax.random.normal(jax.random.key(0), (7, 5), jnp.complex64)
>>> again = jax.jit(lambda x: decode_spectrum(encode_spectrum(x)))(x)
>>> bool(jnp.abs(again - x).max() < 1e-5)
True
>>> jnp.round(frequency_to_hz(jnp.zeros(3), 8000.0, 4), 1)  # any multiple of 2000 Hz
Array([   0., 2000., 4000.], dtype=float32)

Source: Engel et al. 2019, "GANSynth: adversarial neural audio synthesis" (arXiv:1902.08710).
"""

import math

import jax
import jax.numpy as jnp

from scorekit._numerics import wide
from scorekit.arguments import PositiveInt, PositiveScalar, checked
from scorekit.audio._checks import check_signal
from scorekit.audio.stft import from_polar, magnitude, phase
from scorekit.typing import Array, ArrayLike

__all__ = ["decode_spectrum", "encode_spectrum", "frequency_to_hz", "instantaneous_frequency", "phase_from_frequency"]


def instantaneous_frequency(phase: ArrayLike) -> Array:
    """The phase increment from frame to frame in half turns, ``diff(unwrap(phase)) / pi``; first, the phase over pi."""
    check_signal("(..., frames, bins)", phase=phase)
    phase = jnp.asarray(phase)
    turns = jnp.diff(phase, axis=-2, prepend=jnp.zeros_like(phase[..., :1, :])) / math.pi
    return _wrap(turns)


def phase_from_frequency(frequency: ArrayLike) -> Array:
    """The inverse of :func:`instantaneous_frequency`: ``phase[m] = pi sum_{n <= m} frequency[n]``, in radians.

    Partial sums are wrapped to [-pi, pi], so that rounding errors do not grow with the phase.
    """
    check_signal("(..., frames, bins)", frequency=frequency)
    frequency = jnp.asarray(frequency)
    frequency = wide(frequency)
    add = lambda a, b: _wrap(a + b)
    return math.pi * _wrap(jax.lax.associative_scan(add, frequency, axis=frequency.ndim - 2))


@checked
def encode_spectrum(spectrum: ArrayLike, floor: PositiveScalar = 1e-6) -> Array:
    """A spectrum as two real channels: ``log(|X| + floor)`` and the instantaneous frequency."""
    if jnp.ndim(spectrum) < 2 or 0 in jnp.shape(spectrum):
        raise ValueError(f"spectrum must be (..., frames, bins) and not empty, got {jnp.shape(spectrum)}")
    channels = jnp.log(magnitude(spectrum) + floor), instantaneous_frequency(phase(spectrum))
    return jnp.stack(channels, axis=-1)


@checked
def decode_spectrum(channels: ArrayLike, floor: PositiveScalar = 1e-6) -> Array:
    """The inverse of :func:`encode_spectrum`, exact up to rounding: ``max(exp(a) - floor, 0) exp(i phase)``.

    ``a`` is the first channel, the phase :func:`phase_from_frequency` of the second.
    """
    check_signal("(..., frames, bins, 2)", channels=channels)
    if jnp.shape(channels)[-1] != 2:
        raise ValueError(f"channels must be (..., frames, bins, 2), got {jnp.shape(channels)}")
    channels = jnp.asarray(channels)
    size = jnp.maximum(jnp.exp(channels[..., 0]) - floor, 0.0)
    return from_polar(size, phase_from_frequency(channels[..., 1]))


@checked
def frequency_to_hz(frequency: ArrayLike, sample_rate: PositiveScalar, hop: PositiveInt) -> Array:
    """Instantaneous frequency in hertz: of all aliases, the one nearest to the centre of its bin.

    Args:
      frequency: instantaneous frequency in half turns a frame, ``(..., N // 2 + 1)`` for an even ``N``.
    """
    check_signal("(..., bins)", frequency=frequency)
    if jnp.shape(frequency)[-1] < 2:
        raise ValueError(f"frequency must be (..., bins) with at least 2 bins, got {jnp.shape(frequency)}")
    frequency = jnp.asarray(frequency)
    bins = frequency.shape[-1]
    centre = jnp.arange(bins) / (2.0 * (bins - 1))  # cycles a sample
    cycles = frequency / (2.0 * hop)
    return jnp.asarray(sample_rate * (cycles + jnp.round((centre - cycles) * hop) / hop))


def _wrap(half_turns: Array) -> Array:
    """Wraps an angle to [-1, 1], with slope 1."""
    return half_turns - 2.0 * jnp.round(half_turns / 2.0)

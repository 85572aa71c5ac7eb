"""The centred short-time Fourier transform and its exact inverse, over the last axis.

Frame ``m`` is centred on sample ``m hop`` of the signal, which is zero-padded; there are ``1 + ceil(length / hop)``
frames, so the last one is centred on the end or beyond it. Frame ``m`` and bin ``k`` hold

    X[m, k] = sum_n window[n] x[m hop - N // 2 + n] exp(-2 pi i k n / N),    k = 0 .. N // 2,

without scaling. Bin ``k`` is the frequency ``k sample_rate / N`` Hz. The window is an array of ``N`` values, the
length of the Fourier transform; a shorter window is padded with zeros on both sides (``hann(600, fft_size=1024)``).
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Finite, NonNegativeInt, PositiveInt, checked
from scorekit.audio._checks import check_signal
from scorekit.checks import check_like
from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike, Key

_LEAST_COVER = 1e-5  # smallest ratio of the sums of ``window^2`` over two samples at which the transform is inverted


@checked
def hann(window_length: PositiveInt, fft_size: PositiveInt | None = None) -> np.ndarray:
    """The periodic Hann window, ``sin^2(pi n / window_length)``, float64.

    Args:
      window_length: length of the window in samples, at most ``fft_size``.
      fft_size: length of the zero-padded result in samples; ``None`` is ``window_length``.

    >>> hann(4).round(2).tolist(), hann(2, 4).tolist()
    ([0.0, 0.5, 1.0, 0.5], [0.0, 0.0, 1.0, 0.0])
    """
    fft_size = window_length if fft_size is None else fft_size
    if window_length > fft_size:
        raise ValueError(f"window_length must be from 1 to fft_size={fft_size}, got {window_length}")
    before = fft_size // 2 - window_length // 2
    window = np.sin(np.pi * np.arange(window_length) / window_length) ** 2
    return np.pad(window, (before, fft_size - window_length - before))


@checked
def num_frames(length: NonNegativeInt, hop: PositiveInt) -> int:
    """The number of frames of a signal: ``1 + ceil(length / hop)``.

    Args:
      length: number of samples of the signal.
      hop: samples from one frame to the next.

    >>> num_frames(16000, 256)
    64
    """
    return 1 + -(-length // hop)


@checked
def stft(x: ArrayLike, window: Finite[ArrayLike], hop: PositiveInt) -> Array:
    """The centred short-time Fourier transform of a real signal, ``(..., frames, N // 2 + 1)``.

    complex64 unless ``x`` is float64; the window may be traced.

    Args:
      x: real signals ``(..., length)``.
      window: window ``(N,)``, which may be traced.
      hop: samples from one frame to the next.

    >>> stft(jnp.zeros((3, 1000)), hann(256), 100).shape
    (3, 11, 129)

    Source: Allen and Rabiner 1977, "A unified approach to short-time Fourier analysis and synthesis".
    """
    check_signal(x=x)
    x = jnp.asarray(x)
    x = wide(x)
    size = _check_window(window)
    frames = num_frames(x.shape[-1], hop)
    before = size // 2
    after = (frames - 1) * hop + size - before - x.shape[-1]
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, max(after, 0))])
    return jnp.fft.rfft(frame(padded, size, hop) * jnp.asarray(window, x.dtype))


@checked
def istft(spectrum: ArrayLike, window: Finite[ArrayLike], hop: PositiveInt, length: int) -> Array:
    """The signal whose :func:`stft` is nearest to ``spectrum``: the exact inverse for consistent spectra.

    ``x[n] = sum_m window[n - m hop] y_m[n - m hop] / sum_m window[n - m hop]^2`` with ``y_m`` the inverse transform of
    frame ``m``. It minimises ``sum |stft(x) - spectrum|^2`` over the two-sided spectrum.

    Args:
      spectrum: complex spectrum ``(..., frames, N // 2 + 1)`` with ``frames = num_frames(length, hop)``.
      window: window ``(N,)``, concrete; the frames must cover every sample, where not all windows may nearly vanish.
      hop: samples from one frame to the next.
      length: number of samples of the signal.

    >>> x = jax.random.normal(jax.random.key(0), (3, 1000))
    >>> bool(jnp.allclose(istft(stft(x, hann(256), 100), hann(256), 100, 1000), x, atol=1e-5))
    True

    Source: Griffin and Lim 1984, "Signal estimation from modified short-time Fourier transform".
    """
    spectrum = jnp.asarray(spectrum)
    size = _check_window(window)
    frames = num_frames(length, hop)
    if spectrum.ndim < 2 or spectrum.shape[-2:] != (frames, size // 2 + 1):
        raise ValueError(
            f"spectrum must be (..., {frames}, {size // 2 + 1}) for length={length}, hop={hop} and a window of {size},"
            f" got {spectrum.shape}"
        )
    window = np.asarray(window, np.float64)  # concrete, so that the cover of every sample is known
    cover = overlap_add(np.broadcast_to(window**2, (frames, size)), hop)[size // 2 :][:length]
    if length and cover.min() < _LEAST_COVER * cover.max():
        raise ValueError(
            f"hop must be so small that no sample is where all windows nearly vanish, got {hop} for a window of {size}"
        )
    y = jnp.fft.irfft(spectrum, size)
    total = overlap_add(y * jnp.asarray(window, y.dtype), hop)[..., size // 2 : size // 2 + length]
    return total / jnp.asarray(cover, y.dtype)


@checked
def frame(x: Array, size: PositiveInt, hop: PositiveInt) -> Array:
    """Frames of a signal, ``(..., 1 + (length - size) // hop, size)``; an incomplete last one is left out.

    Args:
      x: signals ``(..., length)``.
      size: number of samples of a frame, at most ``length``.
      hop: samples from one frame to the next.

    >>> frame(jnp.arange(6), 4, 2).tolist()
    [[0, 1, 2, 3], [2, 3, 4, 5]]
    """
    if not jnp.ndim(x) or jnp.shape(x)[-1] < size:
        raise ValueError(f"x must be (..., length) with length >= size = {size}, got {jnp.shape(x)}")
    frames = 1 + (x.shape[-1] - size) // hop
    parts = -(-size // hop)
    total = (frames + parts - 1) * hop
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, max(total - x.shape[-1], 0))])[..., :total]
    pieces = x.reshape(*x.shape[:-1], frames + parts - 1, hop)
    return jnp.concatenate([pieces[..., i : i + frames, :] for i in range(parts)], axis=-1)[..., :size]


@checked
def overlap_add(frames: Any, hop: PositiveInt) -> Any:
    """Adds frames, each ``hop`` samples after the one before: the transpose of :func:`frame`.

    The result has at least ``(frames - 1) hop + size`` samples, of which the excess is zero.

    Args:
      frames: frames ``(..., frames, size)``, of jax or of numpy.
      hop: samples from one frame to the next.

    Returns:
      Signals with at least ``(frames - 1) hop + size`` samples, of which the excess is zero.

    >>> overlap_add(jnp.ones((2, 4)), 2).tolist()
    [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]
    """
    if np.ndim(frames) < 2 or 0 in np.shape(frames)[-2:]:
        raise ValueError(f"frames must be (..., frames, size) and not empty, got {np.shape(frames)}")
    module = np if isinstance(frames, np.ndarray) else jnp
    *batch, count, size = frames.shape
    parts = -(-size // hop)  # blocks of ``hop`` samples per frame
    none = [(0, 0)] * len(batch)
    frames = module.pad(frames, [*none, (0, 0), (0, parts * hop - size)]).reshape(*batch, count, parts, hop)
    shifted = (module.pad(frames[..., i, :], [*none, (i, parts - 1 - i), (0, 0)]) for i in range(parts))
    return functools.reduce(module.add, shifted).reshape(*batch, (count + parts - 1) * hop)


def magnitude(spectrum: ArrayLike) -> Array:
    """``|X|``, with gradient 0 where ``X = 0``.

    Args:
      spectrum: complex spectrum X of any shape.

    >>> magnitude(jnp.array([2.0j, 0.0j])).tolist()
    [2.0, 0.0]
    """
    return jnp.abs(jnp.asarray(spectrum))


def phase(spectrum: ArrayLike) -> Array:
    """The angle of ``X`` in radians, in [-pi, pi]; 0, with gradient 0, where ``X = 0``.

    Args:
      spectrum: complex spectrum X of any shape.

    >>> [round(float(x), 4) for x in phase(jnp.array([2.0j, 0.0j]))]
    [1.5708, 0.0]
    """
    spectrum = jnp.asarray(spectrum)
    return jnp.angle(jnp.where(spectrum == 0, 1.0, spectrum))


def from_polar(magnitude: ArrayLike, phase: ArrayLike) -> Array:
    """``magnitude exp(i phase)``: the inverse of :func:`magnitude` and :func:`phase`.

    Args:
      magnitude: magnitudes of any shape.
      phase: phases in radians, of the same shape.

    >>> from_polar(jnp.array([2.0]), jnp.array([0.0])).tolist()
    [(2+0j)]
    """
    check_like("magnitude", magnitude, phase=phase)
    return jax.lax.complex(magnitude * jnp.cos(phase), magnitude * jnp.sin(phase))


@checked
def randomise_phase(key: Key, x: ArrayLike, window: ArrayLike, hop: PositiveInt) -> Array:
    """A signal with the magnitudes of ``x`` and random phases, which shows the contribution of the phases.

    Args:
      key: PRNG key.
      x: real signals ``(..., length)``.
      window: window ``(N,)``, concrete.
      hop: samples from one frame to the next.

    >>> randomise_phase(jax.random.key(0), jnp.ones((3, 1000)), hann(256), 64).shape
    (3, 1000)
    """
    x = jnp.asarray(x)
    size = magnitude(stft(x, window, hop))
    phases = jax.random.uniform(key, size.shape, size.dtype, -math.pi, math.pi)
    return istft(from_polar(size, phases), window, hop, x.shape[-1])


def _check_window(window: ArrayLike) -> int:
    shape = jnp.shape(window)
    if len(shape) != 1 or not shape[0]:
        raise ValueError(f"window must be an array (N,), got shape {shape}")
    return shape[0]


def spectrogram_images(sounds: ArrayLike) -> np.ndarray:
    """Decibel spectrograms of sounds as greyscale images, low frequencies at the bottom.

    Args:
      sounds: sounds ``(N, L)``, or stereo ``(N, 2, L)``, whose mean is shown; full scale [-1, 1].

    Returns:
      ``(N, bins, frames, 1)`` in [-1, 1]: a range of 80 dB below a sine of amplitude 1. The window is the power of two
      nearest to L / 16, at least 64 samples. NaN in a sound gives NaN in its image.

    >>> spectrogram_images(np.zeros((2, 1024))).shape
    (2, 33, 65, 1)
    """
    if np.ndim(sounds) == 3 and np.shape(sounds)[1] == 2:
        sounds = jnp.mean(jnp.asarray(sounds), axis=1)
    check_signal("(N, L)", sounds=sounds)
    sounds = jnp.asarray(sounds)
    size = max(64, 2 ** round(np.log2(sounds.shape[1] / 16)))
    decibels = 20 * jnp.log10(magnitude(stft(sounds, hann(size), size // 4)) + 1e-9)
    return np.asarray(jnp.clip((decibels - 20 * np.log10(size / 4)) / 40 + 1, -1, 1)).transpose(0, 2, 1)[
        :, ::-1, :, None
    ]

"""Distances between signals, with fixed windows and floors so that values are comparable between implementations.

Windows are given in seconds and the sample rate is an argument. All distances are means over frames of a clip
``(..., length)`` and return one value per clip; levels are raised to -100 dB (0 dB is a sine of amplitude 1).
"""

import math
from typing import cast

import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.audio._checks import check_signal, root
from scorekit.audio.fourier import hann, magnitude, stft
from scorekit.typing import Array, ArrayLike

_FLOOR_DB = -100.0  # smallest level before logarithms are taken, relative to a bin of a full-scale sine
_LSD_WINDOW = 0.064  # the Hann window of the log-spectral distance, in seconds; the hop is a quarter of it
_WINDOWS = (0.010, 0.025, 0.050)
"""The Hann windows of the multi-resolution loss, in seconds; hops are a fifth, transforms 1.5 to 3 times as long."""


def spectral_convergence(estimate: ArrayLike, reference: ArrayLike) -> Array:
    """``| |X| - |Y| | / |Y|``, Frobenius norms over frames and bins of two magnitude spectrograms.

    The ratio is 0 for equal magnitudes, 1 for a silent estimate, NaN or infinite for a silent reference.

    Args:
      estimate: magnitudes ``(..., frames, bins)``.
      reference: magnitudes of the same shape, not all zero.

    >>> round(float(spectral_convergence(0.9 * jnp.ones((5, 3)), jnp.ones((5, 3)))), 4)
    0.1

    Source: Sturmel and Daudet 2011, "Signal reconstruction from STFT magnitude: a state of the art".
    """
    check_signal("(..., frames, bins)", estimate=estimate, reference=reference)
    if jnp.shape(estimate) != jnp.shape(reference):
        shapes = jnp.shape(estimate), jnp.shape(reference)
        raise ValueError(f"estimate and reference must be equal in shape, got {shapes[0]} and {shapes[1]}")
    estimate, reference = jnp.asarray(estimate), jnp.asarray(reference)
    norm = lambda x: root(jnp.sum(x**2, axis=(-2, -1)))
    return norm(estimate - reference) / norm(reference)


@checked
def log_spectral_distance(x: ArrayLike, y: ArrayLike, sample_rate: Positive[float]) -> Array:
    """The distance of two signals in dB: a root mean square over bins, then a mean over frames.

    ``mean_m sqrt(mean_k (20 log10(|X[m, k]| / |Y[m, k]|))^2)``, with a window of 64 ms and a hop of 16 ms.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      y: references of the same shape.
      sample_rate: sample rate in Hz.

    >>> x = jnp.sin(0.3 * jnp.arange(8000.0)) + jnp.sin(jnp.arange(8000.0) ** 2)
    >>> round(float(log_spectral_distance(0.5 * x, x, 8000)), 2)  # 20 log10 2
    6.02

    Source: Gray and Markel 1976, "Distance measures for speech processing"; ten times the value of definitions that use
    log10 of powers without the factor 10.
    """
    x, y = _check_pair(x, y)
    length = _samples(_LSD_WINDOW, sample_rate)
    window = hann(length)
    log_x, log_y = (_log(magnitude(stft(s, window, length // 4)), window) for s in (x, y))
    decibels = (20.0 / math.log(10.0)) * (log_x - log_y)
    return jnp.mean(root(jnp.mean(decibels**2, axis=-1)), axis=-1)


@checked
def multi_resolution_stft_loss(x: ArrayLike, y: ArrayLike, sample_rate: Positive[float]) -> Array:
    """Spectral convergence plus the mean absolute difference of log-magnitudes, averaged over three windows.

    At 24 kHz the windows are as in Parallel WaveGAN, 240, 600 and 1200 samples with transforms of 512, 1024 and 2048,
    and the hops are a fifth of the window (48, 120 and 240). Differentiable in ``x``; ``y`` must not be silent.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      y: references of the same shape, not silent.
      sample_rate: sample rate in Hz.

    Returns:
      The loss of each clip, ``(...)``.

    >>> x = jnp.sin(0.3 * jnp.arange(8000.0)) + jnp.sin(jnp.arange(8000.0) ** 2)
    >>> round(float(multi_resolution_stft_loss(0.5 * x, x, 8000)), 2)  # 1 / 2 + log 2
    1.19

    Source: Yamamoto, Song and Kim 2020, "Parallel WaveGAN" (arXiv:1910.11480).
    """
    x, y = _check_pair(x, y)
    losses = []
    for seconds in _WINDOWS:
        length = _samples(seconds, sample_rate)
        window = hann(length, 2 ** math.ceil(math.log2(1.5 * length)))
        size_x, size_y = (magnitude(stft(s, window, max(length // 5, 1))) for s in (x, y))
        difference = jnp.abs(_log(size_x, window) - _log(size_y, window))
        losses.append(spectral_convergence(size_x, size_y) + jnp.mean(difference, axis=(-2, -1)))
    return cast(Array, sum(losses)) / len(losses)


def _log(size: Array, window) -> Array:
    """The logarithm of magnitudes, floored at ``_FLOOR_DB`` against a full-scale sine."""
    return jnp.log(jnp.maximum(size, 0.5 * window.sum() * 10.0 ** (_FLOOR_DB / 20.0)))


def _samples(seconds: float, sample_rate: float) -> int:
    return max(round(seconds * sample_rate), 4)


def _check_pair(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.shape != y.shape or x.ndim < 1:
        raise ValueError(f"x and y must be (..., length) and equal in shape, got {x.shape} and {y.shape}")
    check_signal(x=x, y=y)
    return x, y

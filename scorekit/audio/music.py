"""Onsets, chroma and the roughness of seams, computed from the signal.

Windows are given in seconds and the sample rate is an argument, as in :mod:`scorekit.audio.distances`.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Positive, checked
from scorekit.audio._checks import HOP, check_signal, over_root
from scorekit.audio.fourier import hann, magnitude, stft
from scorekit.typing import Array, ArrayLike, Number

_ONSET_WINDOW, _CHROMA_WINDOW = 0.064, 0.256  # Hann windows, in seconds


@checked
def onset_envelope(x: ArrayLike, sample_rate: Positive[float]) -> Array:
    """The onset envelope (spectral flux): ``mean_k max(0, L[m, k] - L[m - 1, k])``.

    ``L = log(1 + 100 |X|)`` of the magnitude spectrogram, scaled to 1 for a sine of amplitude 1; windows of 64 ms,
    hops of 16 ms. The envelope is ``(..., frames - 1)``.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      sample_rate: sample rate in Hz.

    >>> n = np.arange(2000.0)
    >>> x = np.concatenate([np.zeros(2000), np.exp(-n / 300) * np.sin(n)])  # at 0.5 s, frame 31.25
    >>> abs(int(onset_envelope(x, 4000).argmax()) - 31) <= 2
    True

    Source: Böck and Widmer 2013, "Maximum filter vibrato suppression for onset detection" (without the
    suppression).
    """
    window = hann(max(round(_ONSET_WINDOW * sample_rate), 4))
    size = magnitude(stft(x, window, max(round(HOP * sample_rate), 1))) * (2.0 / window.sum())
    level = jnp.log1p(100.0 * size)
    return jnp.mean(jnp.maximum(level[..., 1:, :] - level[..., :-1, :], 0.0), axis=-1)


@checked
def chroma(x: ArrayLike, sample_rate: Positive[float], f_min: Positive[float] = 55.0) -> Array:
    """The energy in each of the twelve pitch classes, starting at C, normalised to unit norm in every frame.

    ``c / |c|`` with ``c_p = sum_k w_pk |X[m, k]|^2``; windows of 256 ms, hops of 64 ms. The weights w divide the energy
    of a bin between its two nearest classes. The result is ``(..., frames, 12)``, zero for silent frames.

    Args:
      x: signals ``(..., length)``, full scale [-1, 1].
      sample_rate: sample rate in Hz.
      f_min: lowest frequency in Hz; lower bins are ignored.

    >>> int(chroma(np.sin(2 * np.pi * 440 / 4000 * np.arange(4000.0)), 4000)[5].argmax())  # A
    9

    Source: Fujishima 1999, "Realtime chord recognition of musical sound: a system using Common Lisp Music".
    """
    window = hann(max(round(_CHROMA_WINDOW * sample_rate), 4))
    energy = magnitude(stft(x, window, max(round(4 * HOP * sample_rate), 1))) ** 2
    folded = energy @ jnp.asarray(_pitch_classes(len(window), sample_rate, f_min), energy.dtype)
    return over_root(folded, jnp.sum(folded**2, axis=-1, keepdims=True))


def _pitch_classes(fft_size: int, sample_rate: float, f_min: Number) -> np.ndarray:
    """``(bins, 12)``: the weights of the classes of each bin."""
    hertz = np.arange(fft_size // 2 + 1) * sample_rate / fft_size
    weights = np.zeros((len(hertz), 12))
    for k in np.flatnonzero(hertz >= f_min):
        pitch = 69 + 12 * math.log2(hertz[k] / 440)
        below = math.floor(pitch)
        weights[k, below % 12] += below + 1 - pitch
        weights[k, (below + 1) % 12] += pitch - below
    return weights


def correlation(a: ArrayLike, b: ArrayLike) -> Array:
    """Pearson's correlation of two arrays per example: ``cov(a, b) / sqrt(var(a) var(b))``, 0 if one is constant.

    Args:
      a: real array ``(B, ...)``.
      b: real array of the same shape.

    Returns:
      Correlations ``(B,)``.

    >>> correlation(jnp.array([[0.0, 1.0, 2.0]]), jnp.array([[1.0, 3.0, 5.0]]))
    Array([1.], dtype=float32)
    """
    check_signal("(B, ...)", a=a, b=b)
    if jnp.shape(a) != jnp.shape(b):
        raise ValueError(f"a and b must be equal in shape, got {jnp.shape(a)} and {jnp.shape(b)}")
    a, b = (jnp.reshape(y, (jnp.shape(y)[0], -1)) for y in (jnp.asarray(a), jnp.asarray(b)))
    a, b = (y - y.mean(1, keepdims=True) for y in (a, b))
    return over_root(jnp.sum(a * b, 1), jnp.sum(a**2, 1) * jnp.sum(b**2, 1))


def seam_roughness(x: ArrayLike, seams: Sequence[int]) -> Array:
    """The energy of the second difference at seams relative to its average: about 1 for inaudible seams.

    ``(x[s] - 2 x[s - 1] + x[s - 2])^2`` and the next term, the two that depend on a discontinuity before sample s,
    averaged over the seams, relative to the average over the signal: a ratio ``(...)``.

    Args:
      x: signals ``(..., length)``, not constant, of at least 4 samples.
      seams: indices of the first samples after seams, 2 to ``length - 2``.

    >>> smooth = np.sin(0.1 * np.arange(1000.0))
    >>> broken = np.where(np.arange(1000) < 500, smooth, smooth + 0.5)
    >>> float(seam_roughness(smooth, [500])) < 2.1, float(seam_roughness(broken, [500])) > 100
    (True, True)
    """
    check_signal(x=x)
    length, at = jnp.shape(x)[-1], np.asarray(seams)
    if at.ndim != 1 or not at.size or at.dtype.kind not in "iu" or at.min() < 2 or at.max() > length - 2:
        raise ValueError(f"seams must be integers from 2 to {length - 2} for x of length {length}, got {seams}")
    energy = jnp.square(jnp.diff(jnp.asarray(x), n=2, axis=-1))
    at = at[:, None] + np.array([-2, -1])
    return jnp.mean(energy[..., at], axis=(-2, -1)) / jnp.mean(energy, axis=-1)

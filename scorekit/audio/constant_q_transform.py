"""A constant-Q transform that is exactly invertible: a painless, tight, non-stationary Gabor frame.

Band ``k`` is centred on ``f_k = f_min 2^((k - 1) / bins_per_octave)`` and extends from ``f_{k-1}`` to ``f_{k+1}``, so
that the ratio of centre and width is constant. Its filter is a window over the Fourier transform of the full signal,

    g_k(f) = sin(pi/2 cos^2(pi/2 d)),    d = |log2(f / f_k)| bins_per_octave < 1,

and two more, band 0 below ``f_min`` and the last one above ``f_max``, complete ``sum_k g_k^2 = 1``. The transform
has at most ``M`` non-zero bins in a band and is inverted by an inverse Fourier transform of length ``M`` without loss
(the frame is "painless"). With the same ``M`` for all bands the frame is tight, hence its own dual: the inverse is the
transpose, and energy is preserved.

The transform takes a full clip, which it treats as periodic.

Source: Balazs et al. 2011, "Theory, implementation and applications of nonstationary Gabor frames"; Velasco et al.
2011, "Constructing an invertible constant-Q transform with non-stationary Gabor frames".
"""

import math
from typing import Annotated

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, Finite, Positive, PositiveInt, checked
from scorekit.audio._checks import check_signal
from scorekit.numerics import wide
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike


@pytree_dataclass
class ConstantQ:
    """A frame for real signals of one length, made by :func:`constant_q_frame`.

    Attributes:
      frequencies: the centres of the bands in Hz, ``(bands,)``; 0 and half the sample rate at the ends.
      bins: the bins of the signal's transform that a band's own transform holds, ``(bands, M)``; the band's centre is
        at index 0, followed by the bins above it and then those below it.
      weights: the filters at these bins, ``(bands, M)``; 0 where a narrow band has no bin.
      length: number of samples of the signals.

    >>> frame = constant_q_frame(4001, 8000, f_min=110.0, f_max=2000.0)
    >>> isinstance(frame, ConstantQ), frame.length
    (True, 4001)
    """

    frequencies: ArrayLike
    bins: ArrayLike
    weights: ArrayLike
    length: int = static()


@checked
def constant_q_frame(
    length: Annotated[int, Count(3)],
    sample_rate: Positive[float],
    *,
    f_min: Finite[float],
    f_max: Finite[float] | None = None,
    bins_per_octave: PositiveInt = 12,
    columns: PositiveInt | None = None,
) -> ConstantQ:
    """The frame for signals of a given length, long enough for a bin in the narrowest band; on the host in float64.

    It has ``sample_rate M / length`` coefficients per second in every band.

    Args:
      length: number of samples of the signal.
      sample_rate: sample rate in Hz.
      f_min: centre of band 1, in Hz.
      f_max: upper limit of the band centres, in Hz; the highest band ends below half the sample rate. ``None`` is the
        highest possible value.
      bins_per_octave: number of bands in an octave.
      columns: number ``M`` of coefficients in a band; ``None`` is the size of the widest band, which may be prime. The
        band above ``f_max`` counts: an ``f_max`` far below half the sample rate makes all rows longer.

    >>> frame = constant_q_frame(4001, 8000, f_min=110.0, f_max=2000.0)
    >>> frame.frequencies[:4].round(2).tolist(), frame.bins.shape[0]
    ([0.0, 110.0, 116.54, 123.47], 53)
    """
    nyquist = sample_rate / 2.0
    step = 2.0 ** (1.0 / bins_per_octave)
    highest = nyquist / step if f_max is None else f_max
    if not 0.0 < f_min <= highest <= nyquist / step:
        raise ValueError(
            f"f_min, f_max must satisfy 0 < f_min <= f_max <= {nyquist / step:.6g} Hz, got f_min={f_min}, f_max={f_max}"
        )
    octaves = np.arange(1 + math.floor(bins_per_octave * math.log2(highest / f_min) + 1e-9)) / bins_per_octave
    centres = np.array([0.0, *(f_min * 2.0**octaves), nyquist])
    filters = _filters(np.arange(length // 2 + 1) * (sample_rate / length), centres, bins_per_octave)
    if not np.all(np.any(filters, axis=1)):
        raise ValueError(
            f"length must leave a bin of the transform to every band, got {length} samples;"
            f" {math.ceil(sample_rate / (f_min * (step - 1.0 / step)))} are enough for f_min={f_min} Hz"
        )
    widest = max(int(np.ptp(np.flatnonzero(row))) + 1 for row in filters)
    if columns is not None and columns < widest:
        raise ValueError(f"columns must be at least {widest}, the bins of the widest band, got {columns}")
    middles = np.round(centres * (length / sample_rate)).astype(int)
    rows = [_row(row, middle, columns or widest) for row, middle in zip(filters, middles, strict=True)]
    bins, weights = (np.stack(part) for part in zip(*rows, strict=True))
    return ConstantQ(frequencies=centres, bins=bins, weights=weights, length=length)


def _filters(f: np.ndarray, centres: np.ndarray, bins_per_octave: int) -> np.ndarray:
    """The filters ``(bands, bins)`` at the frequencies ``f``; the squares of a column sum to 1."""
    log_f = np.log2(np.maximum(f, 1e-9 * centres[1]))
    distance = np.abs(log_f - np.log2(centres[1:-1, None])) * bins_per_octave
    inner = np.where(distance < 1.0, np.sin(np.pi / 2.0 * np.cos(np.pi / 2.0 * distance) ** 2), 0.0)
    rest = np.sqrt(np.maximum(1.0 - np.sum(inner**2, axis=0), 0.0))
    return np.stack([np.where(f < centres[1], rest, 0.0), *inner, np.where(f > centres[-2], rest, 0.0)])


def _row(weights: np.ndarray, middle: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The bins of a band and its weights there, in the order of the band's own transform."""
    bins = np.flatnonzero(weights)[0] + np.arange(columns)
    index = (bins - middle) % columns
    row_bins, row_weights = np.empty(columns, np.int32), np.empty(columns)
    row_bins[index] = np.minimum(bins, len(weights) - 1)
    row_weights[index] = np.where(bins < len(weights), weights[row_bins[index]], 0.0)
    return row_bins, row_weights


def _scale(length: int, dtype) -> np.ndarray:
    """Factors with which the squares of a one-sided spectrum sum to the energy of the signal."""
    bins = np.arange(length // 2 + 1)
    return np.sqrt(np.where((bins == 0) | (2 * bins == length), 1.0, 2.0) / length).astype(dtype)


def constant_q(x: ArrayLike, frame: ConstantQ) -> Array:
    """The constant-Q coefficients of a real signal; they have the energy of the signal.

    Row ``k`` is the analytic signal of band ``k``, demodulated by its centre so that a steady partial rotates slowly;
    column ``m`` is the time ``m length / M`` in samples.

    Args:
      x: real signals ``(..., length)`` of the length of the frame, which count as periodic.
      frame: frame of the transform, from :func:`constant_q_frame`.

    Returns:
      Complex coefficients ``(..., bands, M)``.

    >>> frame = constant_q_frame(4001, 8000, f_min=110.0)
    >>> constant_q(jnp.zeros((2, 4001)), frame).shape == (2, *frame.bins.shape)
    True
    """
    check_signal(x=x)
    x = jnp.asarray(x)
    if x.shape[-1:] != (frame.length,):
        raise ValueError(f"x must be (..., {frame.length}), the length of the frame, got {x.shape}")
    x = wide(x)
    spectrum = jnp.fft.rfft(x) * _scale(frame.length, x.dtype)
    return jnp.fft.ifft(spectrum[..., frame.bins] * jnp.asarray(frame.weights, x.dtype), norm="ortho")


def inverse_constant_q(coefficients: ArrayLike, frame: ConstantQ) -> Array:
    """The signal of these coefficients: the inverse of :func:`constant_q`, and its transpose.

    ``irfft(sum_k g_k fft(c_k))`` with the filters ``g_k``; for inconsistent coefficients, the least-squares signal.

    Args:
      coefficients: complex coefficients ``(..., bands, M)``.
      frame: frame of the transform, from :func:`constant_q_frame`.

    >>> frame = constant_q_frame(4001, 8000, f_min=110.0)
    >>> x = np.random.default_rng(0).normal(size=(2, 4001))
    >>> bool(jnp.allclose(inverse_constant_q(constant_q(x, frame), frame), x, atol=1e-5))
    True
    """
    coefficients = jnp.asarray(coefficients)
    if coefficients.shape[-2:] != jnp.shape(frame.bins):
        raise ValueError(f"coefficients must be (..., {jnp.shape(frame.bins)}), got {coefficients.shape}")
    parts = jnp.fft.fft(coefficients, norm="ortho")
    dtype = jnp.finfo(parts.dtype).dtype
    parts = parts * jnp.asarray(frame.weights, dtype)
    total = jnp.zeros((*parts.shape[:-2], frame.length // 2 + 1), parts.dtype).at[..., frame.bins].add(parts)
    return jnp.fft.irfft(total / _scale(frame.length, dtype), frame.length)

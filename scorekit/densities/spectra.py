"""Noise level and feature scale: power spectra, and the recoverable part of each frequency band at a noise level.

The power of white noise is the same at all frequencies, while the power of natural data falls with frequency: at each
noise level the low frequencies are above the noise and the high ones below. The spectrum is the mean square of the
*orthonormal* Fourier coefficients in rings of equal frequency, so that

- white noise of variance 1 has the spectrum 1 at every frequency, and
- ``sum_k count_k P_k / (number of pixels)`` is the mean square of a pixel (Parseval), exactly.

At log-SNR l (:meth:`Schedule.log_snr`) a band of power P has the signal-to-noise ratio ``P e^l``. The best *linear*
estimate of it multiplies ``x_t / alpha`` by ``g = P e^l / (1 + P e^l)`` (Wiener) and errs by ``P (1 - g)`` in x0 and by
``g`` in eps. For Gaussian fields (:class:`~scorekit.densities.RandomField`) this is optimal; on real data a network may
do better.

``x`` is ``(N, H, W, C)`` or ``(N, L, C)`` of any even or odd size; frequencies are in cycles per sample, with a maximum
of 0.5 along an axis. The mean of the data contributes to the spectrum: subtract ``x.mean(0)`` first to exclude it, as
a denoiser has learned it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Fraction, NonNegative, Positive, checked
from scorekit.checks import check_axes, check_finite, check_floating, check_not_nan, check_prediction, check_shape
from scorekit.numerics import wide
from scorekit.trees import combine, normal_like, pytree_dataclass
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Schedule

__all__ = [
    "BandErrors",
    "Bands",
    "band_power",
    "band_snr",
    "cutoff_frequency",
    "error_by_band",
    "power_spectrum",
    "radial_bands",
    "transition_log_snr",
    "wiener_error",
    "wiener_gain",
]


@pytree_dataclass
class Bands:
    """A partition of the Fourier coefficients of a grid; build it with :func:`radial_bands`.

    Attributes:
      index: the band of each coefficient, shaped as the grid, ordered as by ``fftfreq``.
      frequency: mean radial frequency of each band, ``(K,)``, in cycles per sample, increasing.
      count: number of coefficients in each band, ``(K,)``.

    >>> radial_bands((8,)).frequency.tolist()
    [0.0, 0.125, 0.25, 0.375, 0.5]
    """

    index: np.ndarray
    frequency: np.ndarray
    count: np.ndarray


def radial_bands(grid: tuple[int, ...], edges: Sequence[float] | None = None) -> Bands:
    """Rings of equal frequency ``|f|`` that partition the coefficients of the grid.

    Args:
      grid: shape of the grid, ``(H, W)`` or ``(L,)``.
      edges: increasing frequencies, in cycles per sample, at which one band ends and the next begins. By default band k
        holds the frequencies that round to ``k / max(grid)``; band 0 is then the mean of the image alone.

    Returns:
      The nonempty bands, as numpy arrays.

    >>> radial_bands((8,)).count.tolist(), radial_bands((4,), [0.0, 0.1, 1.0]).count.tolist()
    ([1, 2, 2, 2, 1], [1, 3])
    """
    check_shape(grid=grid)
    if not grid or min(grid) < 1:
        raise ValueError(f"grid must have at least one axis and one point on each, got {grid}")
    radius = np.sqrt(sum(np.square(f) for f in np.meshgrid(*map(np.fft.fftfreq, grid), indexing="ij")))
    if edges is None:
        index = np.rint(radius * max(grid))
    else:
        check_finite(edges=np.asarray(edges, float))
        if np.ndim(edges) != 1 or np.any(np.diff(edges) <= 0):
            raise ValueError(f"edges must be increasing, got {edges}")
        index = np.searchsorted(np.asarray(edges), radius, side="right")
    _, index = np.unique(index, return_inverse=True)
    index = index.reshape(grid)
    count = np.bincount(index.ravel())
    return Bands(index=index, frequency=np.bincount(index.ravel(), radius.ravel()) / count, count=count)


def band_power(x: Array, bands: Bands) -> Array:
    """The power of each example in each band: the mean of ``|x(f)|^2`` over its coefficients and the channels.

    Args:
      x: data ``(N, *grid, C)``.
      bands: partition of the coefficients of the same grid.

    Returns:
      ``(N, K)``, at least float32.

    >>> band_power(jnp.ones((1, 8, 1)), radial_bands((8,))).round(3)
    Array([[8., 0., 0., 0., 0.]], dtype=float32)
    """
    _check_on_grid(bands, x=x)
    x = jnp.asarray(x)
    x = wide(x)
    coefficients = jnp.fft.fftn(x, axes=range(1, x.ndim - 1), norm="ortho")
    squares = jnp.mean(jnp.square(coefficients.real) + jnp.square(coefficients.imag), axis=-1)
    index, count = jnp.ravel(bands.index), jnp.asarray(bands.count, squares.dtype)
    total = jax.vmap(lambda row: jax.ops.segment_sum(row, index, len(count)))(squares.reshape(x.shape[0], -1))
    return total / count


def _check_on_grid(bands: Bands, **named: ArrayLike) -> None:
    grid = jnp.shape(bands.index)
    for name, x in named.items():
        shape = jnp.shape(x)
        if len(shape) < 3 or shape[1:-1] != grid or not shape[0]:
            wanted = f"(N, {', '.join(map(str, grid))}, C) with N >= 1"
            raise ValueError(f"{name} must have shape {wanted}, the grid of bands, got {shape}")


def power_spectrum(x: Array, bands: Bands | None = None) -> Array:
    """The radially averaged power spectrum of a data set.

    Args:
      x: data ``(N, *grid, C)``.
      bands: partition of the coefficients; :func:`radial_bands` of the grid by default.

    Returns:
      ``(K,)``: the mean square of an orthonormal Fourier coefficient in each band.

    >>> noise = jax.random.normal(jax.random.key(0), (2000, 8, 1))
    >>> power_spectrum(noise)[1:].round(1)
    Array([1., 1., 1., 1.], dtype=float32)
    """
    if jnp.ndim(x) < 3:
        raise ValueError(f"x must have shape (N, *grid, C), got {jnp.shape(x)}")
    return jnp.mean(band_power(x, radial_bands(jnp.shape(x)[1:-1]) if bands is None else bands), axis=0)


def _log_band_snr(power: ArrayLike, log_snr: ArrayLike) -> Array:
    """``log(P e^l)``; -inf for a band without power, NaN for a traced power below 0."""
    check_not_nan(log_snr=log_snr)
    power = _check_power(power)
    log_power = jnp.log(jnp.where(power > 0, power, 1.0))
    without = jnp.where(power == 0, -jnp.inf, jnp.nan)
    return jnp.where(power > 0, jnp.asarray(log_snr)[..., None] + log_power, without)


def _check_power(power: ArrayLike) -> Array:
    """A spectrum ``(K,)`` as floats."""
    if jnp.ndim(power) != 1 or not jnp.size(power):
        raise ValueError(f"power must have shape (K,) with K >= 1, got {jnp.shape(power)}")
    return jnp.asarray(power, jnp.result_type(power, jnp.float32) if isinstance(power, jax.Array) else float)


@checked
def band_snr(power: NonNegative[ArrayLike], log_snr: ArrayLike) -> Array:
    """The signal-to-noise ratio of each band, ``alpha^2 P / sigma^2 = P e^l``, ``S + (K,)``.

    Args:
      power: mean square of an orthonormal Fourier coefficient in each band, ``(K,)``; traced, a value below 0 gives
        NaN.
      log_snr: log-SNR of the schedule in nats, any shape ``S``; may be infinite.

    >>> band_snr(jnp.array([4.0, 1.0]), 0.0)
    Array([4., 1.], dtype=float32)
    """
    return jnp.exp(_log_band_snr(power, log_snr))


@checked
def wiener_gain(power: NonNegative[ArrayLike], log_snr: ArrayLike) -> Array:
    """The recoverable fraction of each band, ``g = alpha^2 P / (alpha^2 P + sigma^2)``: the gain of the Wiener filter.

    It is one half where the SNR of the band is 1. It is also the error of the best linear estimate of eps in that band.

    Args:
      power: mean square of an orthonormal Fourier coefficient in each band, ``(K,)``; traced, a value below 0 gives
        NaN.
      log_snr: log-SNR of the schedule in nats, any shape ``S``; may be infinite.

    Returns:
      One gain in [0, 1] for each noise level and band, ``S + (K,)``.

    >>> print(wiener_gain(jnp.array([4.0, 1.0]), jnp.array([0.0, -jnp.inf])))
    [[0.8 0.5]
     [0.  0. ]]
    """
    return jax.nn.sigmoid(_log_band_snr(power, log_snr))


@checked
def wiener_error(power: NonNegative[ArrayLike], log_snr: ArrayLike) -> Array:
    """The expected error of the best linear estimate of x0 in each band, ``P sigma^2 / (alpha^2 P + sigma^2)``.

    This is the minimum for a Gaussian field with this spectrum, a mean square per coefficient, like ``power``; for
    other data a denoiser may do better.

    Args:
      power: mean square of an orthonormal Fourier coefficient in each band, ``(K,)``; traced, a value below 0 gives
        NaN.
      log_snr: log-SNR of the schedule in nats, any shape ``S``; may be infinite.

    >>> wiener_error(jnp.array([4.0, 1.0]), 0.0).round(3)
    Array([0.8, 0.5], dtype=float32)

    Source: Wiener 1949, "Extrapolation, interpolation, and smoothing of stationary time series".
    """
    return _check_power(power) * jax.nn.sigmoid(-_log_band_snr(power, log_snr))


@checked
def transition_log_snr(power: Positive[ArrayLike]) -> Array:
    """The log-SNR at which the SNR of each band is 1 and half of it is recoverable, ``-log P``, ``(K,)`` in nats.

    ``schedule.time_at`` of it is the time at which the band emerges from the noise.

    Args:
      power: spectrum ``(K,)``.

    >>> [round(float(x), 2) for x in transition_log_snr(jnp.array([4.0, 1.0]))]
    [-1.39, -0.0]
    """
    return -jnp.log(_check_power(power))


def cutoff_frequency(gain: ArrayLike, bands: Bands) -> Array:
    """The highest frequency with a gain of at least one half.

    Between the last band with a gain of at least one half and the next one, the log-odds of the gain are interpolated
    linearly in frequency; exact for a spectrum ``P = exp(-a f)``.

    Args:
      gain: ``(..., K)``: :func:`wiener_gain`, or ``1 - error / power`` of measured errors.
      bands: the K bands, whose frequencies the gains belong to.

    Returns:
      ``(...)``: a frequency in cycles per sample; 0 if no band reaches one half, the highest frequency if all do.

    >>> bands = radial_bands((8,))
    >>> cutoff_frequency(wiener_gain(jnp.exp(-8.0 * bands.frequency), 2.0), bands).round(4)
    Array(0.25, dtype=float32)
    """
    check_axes(*jnp.shape(bands.frequency), gain=gain)
    check_not_nan(gain=gain)
    gain = jnp.asarray(gain, jnp.result_type(gain, jnp.float32) if isinstance(gain, jax.Array) else float)
    frequency = jnp.asarray(bands.frequency, gain.dtype)
    last = frequency.shape[0] - 1
    enough = gain >= 0.5
    k = last - jnp.argmax(enough[..., ::-1], axis=-1)  # the last band with enough gain, if any
    near = jnp.finfo(gain.dtype).eps
    log_odds = jnp.log(jnp.clip(gain, near, 1 - near)) - jnp.log1p(-jnp.clip(gain, near, 1 - near))
    after = jnp.minimum(k + 1, last)
    here, there = (jnp.take_along_axis(log_odds, i[..., None], -1)[..., 0] for i in (k, after))
    fraction = jnp.where(after > k, here / jnp.maximum(here - there, near), 0.0)
    edge = frequency[k] + fraction * (frequency[after] - frequency[k])
    found = jnp.where(jnp.any(enough, axis=-1), edge, 0.0)
    return jnp.where(jnp.any(jnp.isnan(gain), axis=-1), jnp.nan, found)


class BandErrors(NamedTuple):
    """Errors of a denoiser by noise level and band: the mean over examples and its standard error.

    Attributes:
      mean: the mean error over the examples, ``(T, K)``.
      standard_error: standard error of the mean, ``(T, K)``.

    >>> BandErrors(mean=jnp.full((2, 5), 0.5), standard_error=jnp.full((2, 5), 0.01)).mean.shape
    (2, 5)
    """

    mean: Array
    standard_error: Array


@checked
def error_by_band(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    x0: Array,
    ts: Fraction[ArrayLike],
    bands: Bands,
) -> BandErrors:
    """The error of the x0 of a denoiser in each band at each noise level, measured on data.

    ``E |(x0 - x0_hat)(f)|^2`` averaged over the coefficients of the band, to compare with :func:`wiener_error`, the
    error of the best linear denoiser. The network is traced once; the noise is independent for each time.

    Args:
      key: PRNG key.
      denoiser: any denoiser.
      schedule: the noise schedule.
      x0: clean data ``(N, *grid, C)``; the standard error needs N >= 2 and is NaN otherwise.
      ts: times ``(T,)``.
      bands: partition of the coefficients of the grid of ``x0``.

    >>> from scorekit import denoisers, schedules
    >>> from scorekit.densities import random_fields
    >>> data, schedule = random_fields.power_law((8,)), schedules.Cosine()
    >>> x0, denoiser = data.sample(jax.random.key(0), (100,)), denoisers.exact_denoiser(data, schedule)
    >>> errors = error_by_band(jax.random.key(1), denoiser, schedule, x0, [0.3, 0.6], radial_bands((8,)))
    >>> errors.mean.shape, bool((errors.standard_error < errors.mean).all())
    ((2, 5), True)
    """
    if np.ndim(ts) != 1 or not np.size(ts):
        raise ValueError(f"ts must have shape (T,) with T >= 1 times, got shape {jnp.shape(ts)}")
    check_floating(x0=x0)
    _check_on_grid(bands, x0=x0)

    def at(time):
        key, t = time
        x_t = combine((schedule.alpha(t), x0), (schedule.sigma(t), normal_like(key, x0)))
        prediction = check_prediction(denoiser(x_t, t))
        error = band_power(combine((1.0, x0), (-1.0, prediction.x0)), bands)
        return jnp.mean(error, axis=0), jnp.std(error, axis=0, ddof=1) / jnp.sqrt(x0.shape[0])

    ts = jnp.asarray(ts)
    return BandErrors(*jax.lax.map(at, (jax.random.split(key, ts.shape[0]), ts)))

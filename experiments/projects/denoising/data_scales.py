"""Scales of a data set: its standard deviation, and the noise level at which each feature scale is lost.

A Fourier coefficient of power P (:mod:`scorekit.densities.spectra`; of points, a principal component of variance P) is
above the noise while ``sigma / alpha < sqrt(P)``, and its recoverable fraction ``g = P / (P + sigma^2)`` changes around
it at the rate ``-dg/dlog sigma``, a logistic density with mean ``log(P) / 2`` and standard deviation ``pi / sqrt(12)``.
Over all coefficients that is a density of the noise levels with something to learn. Its first two moments are

    ``P_mean = E log(P) / 2``,    ``P_std^2 = (Var log(P) + pi^2 / 3) / 4``:

the parameters of EDM's log-normal distribution. For photographs of 32 x 32 pixels, whose power falls as 1 / f^2, with
EDM's sigma_data = 1/2 they are -1.17 and 1.04; EDM trains with -1.2 and 1.2.
"""

import functools
import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError
from experiments.data.dataset import Dataset, evenly, rows_of
from scorekit.densities import random_fields, spectra

SHARE = 0.999
"""The weakest coefficients, which together hold what is missing from this share of the variance, are left out."""
BLOCK_VALUES = 2**22
"""Values that are transformed at once."""


class Octave(NamedTuple):
    """Coefficients of similar frequency: their mean frequency in cycles per sample, share of the variance, power."""

    frequency: float
    share: float
    power: float

    @property
    def sigma(self) -> float:
        """The noise level sigma / alpha at which their signal-to-noise ratio is 1."""
        return math.sqrt(self.power)


class Scales(NamedTuple):
    """What is measured.

    Attributes:
      mean: mean of all values.
      std: standard deviation of all values, EDM's sigma_data.
      rms: root mean square of all values.
      power: power of each band, or variance of each principal component, ``(K,)``; the mean over the channels.
      channels: power of each band and channel ``(K, C)``, of signals of several channels, such as the bins of a
        representation of sounds; else None.
      count: coefficients of each, ``(K,)``.
      bands: bands of images and signals; None for points.
      floor: the variance of rounding to the values of the data, 0 for continuous data.
      step: between neighbouring values, 0 for continuous data.
      examples: that it is measured on.
    """

    mean: float
    std: float
    rms: float
    power: np.ndarray
    channels: np.ndarray | None
    count: np.ndarray
    bands: spectra.Bands | None
    floor: float
    step: float
    examples: int


def measure(dataset: Dataset, limit: int) -> Scales:
    """The scales of up to ``limit`` training examples as the network receives them, which must not all be the same."""
    rows = evenly(len(dataset.train["x"]), limit)
    size = max(1, BLOCK_VALUES // math.prod(dataset.shape))
    blocks = lambda: _blocks(dataset, rows, size)
    total = _sum(np.sum(x, axis=0, dtype=np.float64) for x in blocks()) / len(rows)
    mean = float(total.mean())
    square = float(_sum(np.sum(np.square(x, dtype=np.float64)) for x in blocks())) / len(rows) / total.size
    std = math.sqrt(max(square - mean**2, 0.0))
    step = 0.0 if dataset.bins is None else 2.0 / (dataset.bins - 1)
    floor = step**2 / 12
    channels = None
    if len(dataset.shape) == 1:
        bands, count = None, np.ones(len(total))
        covariance = _sum((x - total).T @ (x - total) for x in blocks()) / len(rows)
        power = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0)
    else:
        bands = spectra.radial_bands(dataset.shape[:-1])
        spectrum = jax.jit(lambda x: jnp.sum(spectra.band_power(x, bands), axis=0))
        each = len(dataset.shape) == 2 and dataset.shape[-1] > 1
        split = lambda x: np.moveaxis(x, -1, 0)[..., None] if each else x[None]
        found = _sum(np.stack([spectrum(part) for part in split(x - total)]).astype(np.float64) for x in blocks())
        power, count = found.mean(0) / len(rows), np.asarray(bands.count, float)
        channels = found.T / len(rows) if each else None
    if not np.any(power > 1e-12):
        raise ConfigError(f"--data: all {len(rows)} examples of {dataset.name} that were read are the same")
    return Scales(mean, std, math.sqrt(square), power, channels, count, bands, floor, step, len(rows))


def _sum(parts: Iterable[Any]) -> Any:
    return functools.reduce(operator.add, parts)


def _blocks(dataset: Dataset, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        part = rows_of(dataset.train, rows[start : start + size])
        yield np.asarray(dataset.inputs(part), np.float32)


def octaves(scales: Scales, channel: np.ndarray | None = None) -> list[Octave]:
    """The frequencies of images and signals by octaves from one cycle per side on, without the mean; none of points.

    ``channel`` is the power of each band of a channel, by default the mean over the channels.
    """
    if (bands := scales.bands) is None:
        return []
    powers = scales.power if channel is None else channel
    frequency, total = np.asarray(bands.frequency), float(powers @ scales.count) or 1.0
    inner = np.clip(frequency, 1e-9, 0.5 - 1e-6)  # the corners of the square of frequencies are of the last octave
    index = np.floor(np.log2(inner * max(bands.index.shape)) + 1e-6)
    found = []
    for k in np.unique(index[frequency > 0]):
        inside = (index == k) & (frequency > 0)
        weight = scales.count[inside]
        power = float(powers[inside] @ weight / weight.sum())
        found.append(Octave(float(frequency[inside] @ weight / weight.sum()), power * weight.sum() / total, power))
    return found


def strongest(scales: Scales) -> list[float]:
    """The noise level at which each octave is lost in the channel that has most of it."""
    each = scales.power[None] if scales.channels is None else scales.channels.T
    return np.max([[octave.sigma for octave in octaves(scales, power)] for power in each], axis=0).tolist()


def moments(scales: Scales) -> tuple[float, float]:
    """:func:`noise_moments` of all coefficients, each channel by itself where they differ."""
    powers = scales.power[:, None] if scales.channels is None else scales.channels
    return noise_moments(powers.ravel(), np.repeat(scales.count, powers.shape[1]), scales.floor)


def noise_moments(power: np.ndarray, count: np.ndarray, floor: float = 0.0) -> tuple[float, float]:
    """``P_mean`` and ``P_std`` from the power of bands ``(K,)``, each of ``count`` coefficients: see the module.

    Bands of less power than ``floor`` are left out, and so are the weakest bands, beyond :data:`SHARE` of the variance.

    >>> mean, std = noise_moments(np.array([4.0]), np.array([64.0]))  # white noise of standard deviation 2
    >>> round(mean, 3), round(std, 3)
    (0.693, 0.907)
    """
    order = np.argsort(-power)
    before = np.cumsum((power * count)[order]) - (power * count)[order]
    kept = order[(before < SHARE * (power @ count)) & (power[order] > floor)]
    kept = kept if len(kept) else order[:1]
    log_power, weight = np.log(power[kept]), count[kept] / count[kept].sum()
    mean = float(weight @ log_power)
    variance = float(weight @ np.square(log_power - mean))
    return mean / 2, math.sqrt(variance + math.pi**2 / 3) / 2


def coarsest(scales: Scales) -> float:
    """The noise level at which the last features are lost: the strongest octave of any channel, or component."""
    return max(strongest(scales), default=math.sqrt(float(scales.power.max())))


def photographs(side: int = 64) -> Scales:
    """The exact scales of Gaussian images with the spectrum of photographs, 1 / f^2, for comparison."""
    sigma_data = 0.5
    field, bands = random_fields.power_law((side, side), 2.0, sigma_data**2), spectra.radial_bands((side, side))
    power = np.bincount(np.ravel(bands.index), np.ravel(np.asarray(field.power))) / bands.count
    return Scales(0.0, sigma_data, sigma_data, power, None, np.asarray(bands.count, float), bands, 0.0, 0.0, 0)

"""Scales of a data set: its standard deviation, the noise level at which each feature scale is lost, and fields for it.

    python -m experiments.projects.denoising.data_scales --config=experiments/configs/images/digits.py
    python -m experiments.projects.denoising.data_scales --config=experiments/configs/images/cifar10.py \\
        --config.data.name=folder --config.data.path=~/pictures --config.data.image_size=64

A Fourier coefficient of power P (:mod:`scorekit.densities.spectra`; of points, a principal component of variance P) is
above the noise while ``sigma / alpha < sqrt(P)``, and its recoverable fraction ``g = P / (P + sigma^2)`` changes around
it at the rate ``-dg/dlog sigma``, a logistic density with mean ``log(P) / 2`` and standard deviation ``pi / sqrt(12)``.
Over all coefficients that is a density of the noise levels with something to learn. Its first two moments are

    ``P_mean = E log(P) / 2``,    ``P_std^2 = (Var log(P) + pi^2 / 3) / 4``:

the parameters of EDM's log-normal distribution. For photographs of 32 x 32 pixels, whose power falls as 1 / f^2, with
EDM's sigma_data = 1/2 they are -1.17 and 1.04; EDM trains with -1.2 and 1.2. Prints the scales, and the fields of a
training at these scales, with a shifted schedule or with EDM's noise; trains nothing. docs/noise_and_scale.md has more.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Dataset, evenly, rows_of
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.diffusion import task as diffusion
from scorekit import schedules
from scorekit.densities import random_fields, spectra

_CONFIG = shared.config()
_LIMIT = shared.count("examples", 5000, "Training examples to measure on, at most.", lower_bound=2)
SHARE = 0.999
"""The weakest coefficients, which together hold what is missing from this share of the variance, are left out."""
BLOCK_VALUES = 2**22
"""Values that are transformed at once."""
SIDE = 64
"""The side of the images that schedules are made for (Hoogeboom et al. 2023)."""


class Scales(NamedTuple):
    """The scales of a data set.

    Attributes:
      mean: mean of all values.
      std: standard deviation of all values, EDM's sigma_data.
      power: power of each band ``(K, C)``, or variance of each principal component ``(K, 1)``. C is 1 for images, whose
        channels are averaged; the channels of a signal, such as the bins of a representation of sounds, differ.
      count: coefficients of each, ``(K,)``.
      bands: bands of images and signals; None for points.
      step: difference of neighbouring values, 0 for continuous data.
      examples: number of examples.
    """

    mean: float
    std: float
    power: np.ndarray
    count: np.ndarray
    bands: spectra.Bands | None = None
    step: float = 0.0
    examples: int = 0


def measure(dataset: Dataset, limit: int) -> Scales:
    """The scales of up to ``limit`` training examples as the network receives them, which must not all be the same."""
    rows = evenly(len(dataset.train["x"]), limit)
    size = max(1, BLOCK_VALUES // math.prod(dataset.shape))

    def mean_of(of_block: Callable[[np.ndarray], Any]) -> np.ndarray:
        blocks = (rows_of(dataset.train, rows[at : at + size]) for at in range(0, len(rows), size))
        parts = [of_block(np.asarray(dataset.inputs(block), np.float32)) for block in blocks]
        return np.sum(parts, axis=0) / len(rows)

    centre = mean_of(lambda x: x.sum(axis=0, dtype=np.float64))
    square = float(mean_of(lambda x: np.sum(np.square(x, dtype=np.float64)))) / centre.size
    bands, count = None, np.ones(len(centre))
    if len(dataset.shape) == 1:
        covariance = mean_of(lambda x: (x - centre).T @ (x - centre))
        power = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0)[:, None]
    else:
        bands = spectra.radial_bands(dataset.shape[:-1])
        count = np.asarray(bands.count, float)
        spectrum = jax.jit(lambda x: jnp.sum(spectra.band_power(x, bands), axis=0))
        parts = lambda x: np.moveaxis(x, -1, 0)[..., None] if len(dataset.shape) == 2 else x[None]
        power = mean_of(lambda x: np.stack([spectrum(part) for part in parts(x - centre)]).astype(np.float64)).T
    if not np.any(power > 1e-12):
        raise ConfigError(f"config.data: all {len(rows)} examples of {dataset.name} that were read are the same")
    step, mean = 0.0 if dataset.bins is None else 2.0 / (dataset.bins - 1), float(centre.mean())
    return Scales(mean, math.sqrt(max(square - mean**2, 0.0)), power, count, bands, step, len(rows))


class Octave(NamedTuple):
    """Coefficients of similar frequency.

    Attributes:
      frequency: mean frequency in cycles per sample.
      share: part of the variance.
      sigma: noise level sigma / alpha at which the channel that has most of them has a signal-to-noise ratio of 1.
    """

    frequency: float
    share: float
    sigma: float


def octaves(scales: Scales) -> list[Octave]:
    """The frequencies of images and signals by octaves from one cycle per side on, without the mean; none of points."""
    if (bands := scales.bands) is None:
        return []
    frequency, total = np.asarray(bands.frequency), scales.count @ scales.power.mean(1)
    inner = np.clip(frequency, 1e-9, 0.5 - 1e-6)  # the corners of the square of frequencies are of the last octave
    index = np.floor(np.log2(inner * max(bands.index.shape)) + 1e-6)
    bands_of_octaves = []
    for k in np.unique(index[frequency > 0]):
        inside = (index == k) & (frequency > 0)
        weight = scales.count[inside]
        power = weight @ scales.power[inside] / weight.sum()
        share = float(power.mean() * weight.sum() / total)
        bands_of_octaves.append(Octave(float(weight @ frequency[inside] / weight.sum()), share, math.sqrt(power.max())))
    return bands_of_octaves


def noise_moments(scales: Scales) -> tuple[float, float]:
    """``P_mean`` and ``P_std`` of all coefficients: see the module.

    Bands of less power than rounding to the values of the data are left out, and so are the weakest bands, beyond
    :data:`SHARE` of the variance.

    >>> mean, std = noise_moments(Scales(0.0, 2.0, np.array([[4.0]]), np.array([64.0])))  # white noise
    >>> round(mean, 3), round(std, 3)
    (0.693, 0.907)
    """
    power, count = scales.power.ravel(), np.repeat(scales.count, scales.power.shape[1])
    order = np.argsort(-power)
    before = np.cumsum((power * count)[order]) - (power * count)[order]
    kept = order[(before < SHARE * (power @ count)) & (power[order] > scales.step**2 / 12)]
    kept = kept if len(kept) else order[:1]
    log_power, weight = np.log(power[kept]), count[kept] / count[kept].sum()
    mean = float(weight @ log_power)
    variance = float(weight @ np.square(log_power - mean))
    return mean / 2, math.sqrt(variance + math.pi**2 / 3) / 2


def coarsest(scales: Scales) -> float:
    """The noise level at which the last features are lost: the strongest octave of any channel, or component."""
    return max((octave.sigma for octave in octaves(scales)), default=math.sqrt(float(scales.power.max())))


def photographs(side: int) -> Scales:
    """The exact scales of Gaussian images with the spectrum of photographs, 1 / f^2, for comparison."""
    sigma_data = 0.5
    field, bands = random_fields.power_law((side, side), 2.0, sigma_data**2), spectra.radial_bands((side, side))
    power = np.bincount(np.ravel(bands.index), np.ravel(np.asarray(field.power))) / bands.count
    return Scales(0.0, sigma_data, power[:, None], np.asarray(bands.count, float), bands)


def noise_factor(scales: Scales) -> float:
    """The ``noise_factor`` with which the coarsest features are lost where 64 x 64 photographs lose theirs without it.

    For photographs of d x d pixels it is about ``d / 64``, the rule of simple diffusion (Hoogeboom et al. 2023). It is
    at least ``exp(P_mean)``, with which half of a cosine schedule is above the noise in which a typical coefficient is
    lost: with less, as that rule gives for a few pixels, too few steps are left for the coarse shape.
    """
    return max(coarsest(scales) / coarsest(photographs(SIDE)), math.exp(noise_moments(scales)[0]))


def edm_fields(scales: Scales) -> dict[str, Any]:
    """The fields of EDM's noise, preconditioning and loss at these scales.

    sigma begins at a quarter of the step between values, or a tenth of the least that is trained on, and ends at ten
    times the noise in which the coarsest features are lost, a signal-to-noise ratio of 0.01.
    """
    mean, std = noise_moments(scales)
    rounded = lambda value, digits=3: float(f"{value:.{digits}g}")
    sigma_data = rounded(scales.std)
    least = scales.step / 4 if scales.step else 0.1 * math.exp(mean - 2 * std)
    return {
        "schedule.name": "edm",
        "schedule.sigma_min": rounded(least, 2),
        "schedule.sigma_max": rounded(10 * coarsest(scales), 2),
        "preconditioning.noise.name": "log_snr",
        "preconditioning.noise.scale": -0.125,
        "preconditioning.sigma_data": sigma_data,
        "loss.target.name": "edm",
        "loss.target.sigma_data": sigma_data,
        "loss.weighting.name": "edm",
        "loss.weighting.sigma_data": sigma_data,
        "loss.times.name": "log_normal_sigma",
        "loss.times.mean": rounded(mean),
        "loss.times.std": rounded(std),
    }


def scale_table(scales: Scales, dataset: Dataset) -> Table:
    """The noise level above which each octave of frequencies, or each of the largest components, is lost."""
    schedule = schedules.shifted(schedules.Cosine(), noise_factor(scales))

    def lost(sigma: float) -> list[Cell]:
        log_snr = -2 * math.log(sigma)
        return [f"{sigma:.3g}", f"{log_snr:.2f}", f"{float(schedule.time_at(log_snr)):.2f}"]

    header = ["of the variance", "lost above sigma/alpha", "log-SNR", "t, shifted cosine"]
    if scales.bands is None:
        power = scales.power[scales.power > 0]
        rows = [[k + 1, f"{p / power.sum():.1%}", *lost(math.sqrt(p))] for k, p in enumerate(power[:8])]
        return Table(["component", *header], rows)
    axis = dataset.frequency_axis()
    bands = [octave for octave in octaves(scales) if octave.sigma > 0]
    return Table([axis.unit, *header], [[axis.show(f), f"{share:.1%}", *lost(sigma)] for f, share, sigma in bands])


def main(config: Config) -> str:
    dataset = data.load(config)
    scales = measure(dataset, _LIMIT.value)
    mean, std = noise_moments(scales)
    print(f"{dataset.summary()}; {scales.examples:,} are measured")
    print(f"mean {scales.mean:.3f}, standard deviation (sigma_data) {scales.std:.3f}, ", end="")
    print(f"P_mean {mean:.2f}, P_std {std:.2f} (EDM for photographs: 0.5, -1.2, 1.2)\n")
    print(tables_as_text([scale_table(scales, dataset)]))
    as_flags = lambda fields: " \\\n    ".join(f"--config.{field}={value}" for field, value in fields.items())
    print(f"a shifted schedule:\n    {as_flags({'noise_factor': f'{noise_factor(scales):.2g}'})}\n")
    print(f"EDM:\n    {as_flags(edm_fields(scales))}\n")
    return "fields of experiments.train for these data"


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, diffusion.check_fields)

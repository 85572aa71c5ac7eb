"""Frequency bands of images, the errors of models in each of them, and their table."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError
from experiments.data.dataset import Dataset
from experiments.models.model import denoiser
from scorekit import weightings
from scorekit.densities import spectra

LOG_SNRS = np.linspace(-8.0, 8.0, 33)
"""The noise levels, in nats."""
MEANS = (
    "error of eps with the weight of the band",
    "error of x0 with the weight of the band, share of power",
    "error of x0 with equal weight from -8 to 8 nats, share of power",
)


class Band(NamedTuple):
    """A frequency band: its name, and the power and number of coefficients of each ring of frequencies in it."""

    name: str
    power: tuple[float, ...]
    count: tuple[int, ...]


def divide(x: np.ndarray, edges: list[float]) -> list[Band]:
    """The bands of the spectrum of images about their mean, divided at ``edges``."""
    rings = spectra.radial_bands(x.shape[1:-1])
    power = np.asarray(spectra.power_spectrum(x - x.mean(axis=0), rings))
    ends = [0.0, *edges, np.inf]
    bands = []
    for low, high in itertools.pairwise(ends):
        chosen = (rings.frequency >= low) & (rings.frequency < high) & (power > 0)
        if not chosen.any():
            given = ",".join(f"{edge:g}" for edge in edges)
            raise ConfigError(f"--edges={given}: there is no frequency between {low:g} and {high:g}")
        name = f"f < {high:g}" if low == 0 else f"f ≥ {low:g}" if high == np.inf else f"{low:g} ≤ f < {high:g}"
        bands.append(Band(name, tuple(map(float, power[chosen])), tuple(map(int, rings.count[chosen]))))
    return bands


def make_measure(dataset: Dataset, edges: list[float]):
    """``(model, params) -> (T, bands)``: the error of x0 as a fraction of the band's power, on the test images."""
    x = dataset.to_model(dataset.test["x"])
    bands = spectra.radial_bands(dataset.shape[:-1], edges)
    power = spectra.power_spectrum(x - dataset.to_model(dataset.train["x"]).mean(axis=0), bands)

    @jax.jit
    def errors(denoise, schedule, x):
        ts = schedule.time_at(jnp.asarray(LOG_SNRS, jnp.float32))
        return spectra.error_by_band(jax.random.key(0), denoise, schedule, x, ts, bands).mean / power

    def measure(model, params):
        null = jnp.full(len(x), model.num_classes, jnp.int32)
        return np.asarray(errors(denoiser(model, params, null), model.schedule, x))

    return measure


def means(relative: np.ndarray, bands: list[Band]) -> np.ndarray:
    """The means :data:`MEANS`, ``(3, bands)``, of relative errors ``(T, bands)``."""
    weights = np.stack([np.asarray(weightings.band(p.power, p.count)(jnp.asarray(LOG_SNRS))) for p in bands], 1)
    mean = lambda w, error: (w * error).sum(axis=0) / w.sum(axis=0)
    power = [np.average(p.power, weights=p.count) for p in bands]
    eps = relative * power * np.exp(LOG_SNRS)[:, None]
    return np.stack([mean(weights, eps), mean(weights, relative), relative.mean(axis=0)])


def paired(errors: np.ndarray, baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean relative change of errors ``(seeds, ...)`` against ``baseline`` with the same seeds, in per cent, and
    its standard error over seeds (NaN for a single one).

    >>> change, error = paired(np.array([0.9, 1.6]), np.array([1.0, 2.0]))
    >>> print(f"{change:.1f} ± {error:.1f}")
    -15.0 ± 5.0
    """
    change = 100.0 * (errors / baseline - 1.0)
    n = len(change)
    error = np.std(change, axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(change.shape[1:], np.nan)
    return change.mean(axis=0), error


def show_table(bands: list[Band], found: dict[str, np.ndarray]) -> None:
    """Prints the differences to λ = 1 with the same seed."""
    width = max(max(len(p.name) for p in bands) + 5, 20)
    line = lambda name, cells: print(f"{name:24}" + "".join(f"{cell:>{width}}" for cell in cells))
    for i, kind in enumerate(MEANS):
        baseline = found["λ = 1"][:, i]
        seeds = f"mean ± standard error of {len(baseline)} seeds"
        print(f"\n{kind}: change against λ = 1 of the same seed, {seeds}")
        line("trained with", [f"in {band.name}" for band in bands])
        line("λ = 1 (the error)", [f"{error:.4f}" for error in baseline.mean(axis=0)])
        for band in bands:
            changes = zip(*paired(found[band.name][:, i], baseline), strict=True)
            line(f"band {band.name}", [f"{change:+.2f} ± {error:.2f} %" for change, error in changes])

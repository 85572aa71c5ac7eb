"""The errors of a denoiser in bands of frequencies by noise level, alongside the Wiener filter."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.progress import Progress
from experiments.data.dataset import rows_of
from experiments.data.display import FrequencyAxis
from experiments.reporting.curves import NOISE_AXIS, Panel, curves, lines, scale
from experiments.reporting.report import Figure, Section
from experiments.reporting.tables import Table
from experiments.tasks.task import Run
from scorekit.densities import spectra

BLOCK_VALUES = 2**18
"""Values that go through the network at once."""


def make_bands(shape: tuple[int, ...], edges: tuple[float, ...]) -> spectra.Bands:
    """Between ``edges`` in cycles per sample; by default the rings of an image and the octaves of a signal."""
    grid = shape[:-1]
    if not edges and len(grid) == 1:
        edges = tuple(0.5 * 2.0**-k for k in range(int(math.log2(grid[0])) - 1, -1, -1))
        edges = (0.5 / grid[0], *edges[:-1])
    return spectra.radial_bands(grid, edges or None)


def pooled(parts: Sequence[spectra.BandErrors], sizes: Sequence[int]) -> spectra.BandErrors:
    """The errors on all examples from those on parts of them."""
    n = np.asarray(sizes, float)[:, None, None]
    means, errors = (np.stack([np.asarray(part[i], float) for part in parts]) for i in (0, 1))
    mean = (n * means).sum(axis=0) / n.sum()
    squares = (n * (n - 1) * errors**2 + n * (means - mean) ** 2).sum(axis=0)
    return spectra.BandErrors(mean, np.sqrt(squares / (n.sum() - 1) / n.sum()))


def measure(run: Run, levels: np.ndarray, bands: spectra.Bands, limit: int):
    """The spectrum of the test examples about the average training example, and the errors of the denoiser in x0."""
    inputs, schedule = run.dataset.inputs, run.model.schedule
    x = np.asarray(inputs(rows_of(run.dataset.test, slice(limit))))
    ts = schedule.time_at(jnp.asarray(levels, jnp.float32))

    @jax.jit
    def errors(params, key, x):
        null = jnp.full(len(x), run.model.num_classes, jnp.int32)
        return spectra.error_by_band(key, run.model.denoiser(params, null), schedule, x, ts, bands)

    blocks = np.array_split(x, min(-(-x.size // BLOCK_VALUES), len(x) // 2))
    parts = []
    with Progress(len(blocks), batch_size=len(blocks[0]), label="measuring") as bar:
        for i, block in enumerate(blocks):
            of_block = errors(run.params, jax.random.fold_in(jax.random.key(0), i), block)
            parts.append(jax.tree.map(np.asarray, of_block))
            bar.update(i + 1)
    power = jax.jit(spectra.power_spectrum)(x - np.mean(inputs(run.dataset.train), axis=0), bands)
    return np.asarray(power), pooled(parts, [len(block) for block in blocks]), np.asarray(ts)


class Spectral(NamedTuple):
    """The power of bands of frequencies, and the loss of each band at noise levels ``(levels, bands)``.

    Attributes:
      bands: the bands.
      axis: the unit of their frequencies.
      power: power of the data in each band.
      levels: log-SNRs.
      gain: gain of the Wiener filter.
      relative: errors of the network in x0 over the power of the band.
      spread: their standard errors.
    """

    bands: spectra.Bands
    axis: FrequencyAxis
    power: np.ndarray
    levels: np.ndarray
    gain: np.ndarray
    relative: np.ndarray
    spread: np.ndarray

    @property
    def cutoffs(self) -> list[np.ndarray]:
        """The highest frequency of which half is recovered, by the Wiener filter and by the network."""
        return [np.asarray(spectra.cutoff_frequency(g, self.bands)) for g in (self.gain, 1 - self.relative)]

    def named(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of ``values``, at most 6, by the frequency of their band."""
        frequencies = [*enumerate(self.bands.frequency)][:: -(-len(self.power) // 6)]
        name = lambda f: "mean" if f == 0 else f"{self.axis.show(f)} {self.axis.short}"
        return {name(f): values[:, k] for k, f in frequencies}


def tables(measured: Spectral, ts: np.ndarray, transition: np.ndarray) -> list[Table]:
    """The bands with the times of their transition, and the noise levels, whose times are ``ts``."""
    axis, bands = measured.axis, measured.bands
    by_band = Table(
        ["frequency", "coefficients", "power", "transition at log-SNR", "transition at t"],
        [
            [axis.show(f), int(n), float(p), float(-np.log(p)), float(t)]
            for f, n, p, t in zip(bands.frequency, bands.count, measured.power, transition, strict=True)
        ],
        f"Frequencies in {axis.unit}. The transition is where the signal-to-noise ratio of the band is 1.",
    )
    rows = []
    for level, t, *cutoffs, row in zip(measured.levels, ts, *measured.cutoffs, range(len(ts)), strict=True):
        errors = zip(measured.relative[row], measured.spread[row], 1 - measured.gain[row], strict=True)
        cells = [f"{e:.3f} ± {s:.3f} ({w:.3f})" for e, s, w in errors]
        rows.append([float(level), float(t), *map(axis.show, cutoffs), *cells])
    header = [
        "log-SNR",
        "t",
        "cutoff, Wiener",
        "cutoff, network",
        *(f"error at {axis.show(f)}" for f in bands.frequency),
    ]
    caption = (
        "Cutoff: the highest frequency of which at least half is recovered. Errors of x0 as a fraction of its power: "
        "the network ± standard error over the examples, and in brackets the Wiener filter."
    )
    return [by_band, Table(header, rows, caption)]


def spectrum_figure(path: Path, measured: Spectral) -> Path:
    """The spectrum, and the floors of the noise at some levels: a band is recoverable where it stands above."""
    power, frequency, unit = measured.power, measured.bands.frequency * measured.axis.factor, measured.axis.unit
    octaves = len(power) > 2 and bool(frequency[-1] > 50 * frequency[1])
    shown = slice(1 if octaves else 0, None)  # the mean, at 0, is not on a logarithmic axis
    floors = {f"noise at log-SNR {level}": np.full(len(power), np.exp(-level)) for level in (-2, 0, 2, 4, 6)}
    panel = {name: values[shown] for name, values in {"data (centred)": power, **floors}.items()}
    title = "Power spectrum and the floors of white noise"
    ylabel = "power per coefficient (white noise of variance 1 is 1)"
    scales = {"xscale": "log" if octaves else "linear", "yscale": scale(*panel.values())}
    return curves(path, [Panel(lines(frequency[shown], panel), f"frequency ({unit})", ylabel, title, axes=scales)])


def figures(folder: Path, measured: Spectral) -> list[Section]:
    """The spectrum and the errors by noise level, in ``folder``."""
    error, wiener = "error of x0 / power of the band", lines(measured.levels, measured.named(1 - measured.gain))
    network = lines(measured.levels, measured.named(measured.relative), measured.named(measured.spread))
    panels = [
        Panel(network, NOISE_AXIS, error, "What is lost of each band: network"),
        Panel(wiener, NOISE_AXIS, error, "Wiener filter"),
    ]
    caption = "Left of its transition a band is lost, right of it known. Bars: one standard error over the examples."
    return [
        Figure(spectrum_figure(folder / "spectrum.png", measured), "Bands where the data exceed the noise."),
        Figure(curves(folder / "errors.png", panels, share=True), caption),
    ]

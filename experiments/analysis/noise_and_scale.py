"""Noise level and feature scale of a trained model: which frequencies each noise level leaves to be recovered.

    python -m experiments.analysis.noise_and_scale --workdir=runs/digits
    python -m experiments.analysis.noise_and_scale --workdir=runs/digits --edges=0.1,0.2,0.3,0.4 --levels=25
    python -m experiments.analysis.noise_and_scale --workdir=runs/notes --edges=250,500,1000

Measures the power spectrum of the images or sounds, and for each band of frequencies and noise level the error of the
denoiser (with the null token: the class-free model) and that of the Wiener filter, the best linear one. Prints the
tables and writes them with the figures to ``workdir/noise_and_scale/report.html``. Frequencies of images are in cycles
per pixel, in rings; those of sounds in Hz, in octaves.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.data.dataset import rows_of
from experiments.data.display import FrequencyAxis
from experiments.models.model import denoiser
from experiments.models.runs import Run, facts, open_run
from experiments.reporting import curves
from experiments.reporting.report import Figure, Heading, Section, Table, Text, tables_as_text, write_report
from scorekit import weightings
from scorekit.densities import spectra

_WORKDIR, _STEP = shared.workdir(), shared.step()
_EDGES = flags.DEFINE_list("edges", None, "Frequencies at which bands meet, in the unit of the report.")
_LEVELS = flags.DEFINE_integer("levels", 17, "Noise levels, from log-SNR -8 to 8.", lower_bound=2)
_LIMIT = flags.DEFINE_integer("examples", 1000, "Test examples to measure on, at most.", lower_bound=2)

NOISE = "log-SNR (nats):  noise ←  → data"
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
        return spectra.error_by_band(key, denoiser(run.model, params, null), schedule, x, ts, bands)

    blocks = np.array_split(x, min(-(-x.size // BLOCK_VALUES), len(x) // 2))
    parts = []
    with progress.Progress(len(blocks), batch_size=len(blocks[0]), label="measuring") as bar:
        for i, block in enumerate(blocks):
            found = errors(run.params, jax.random.fold_in(jax.random.key(0), i), block)
            parts.append(jax.tree.map(np.asarray, found))
            bar.update(i + 1)
    power = jax.jit(spectra.power_spectrum)(x - np.mean(inputs(run.dataset.train), axis=0), bands)
    return np.asarray(power), pooled(parts, [len(block) for block in blocks]), np.asarray(ts)


def spectrum_figure(path: Path, power: np.ndarray, bands: spectra.Bands, axis: FrequencyAxis) -> Path:
    """The spectrum, and the floors of the noise at some levels: a band is recoverable where it stands above."""
    octaves = len(power) > 2 and bool(bands.frequency[-1] > 50 * bands.frequency[1])
    shown = slice(1 if octaves else 0, None)  # the mean, at 0, is not on a logarithmic axis
    floors = {f"noise at log-SNR {level}": np.full(len(power), np.exp(-level)) for level in (-2, 0, 2, 4, 6)}
    panel = {name: values[shown] for name, values in {"data (centred)": power, **floors}.items()}
    title = "Power spectrum and the floors of white noise"
    ylabel = "power per coefficient (white noise of variance 1 is 1)"
    frequency, xlabel = bands.frequency[shown] * axis.factor, f"frequency ({axis.unit})"
    return curves.panels(path, frequency, {"": panel}, xlabel=xlabel, ylabel=ylabel, title=title, log_x=octaves)


def named(values: np.ndarray, bands: spectra.Bands, axis: FrequencyAxis, every: int = 1) -> dict[str, np.ndarray]:
    """Columns of ``values`` by the frequency of their band."""
    names = ["mean" if f == 0 else f"{axis.show(f)} {axis.short}" for f in bands.frequency]
    return {name: values[:, k] for k, name in list(enumerate(names))[::every]}


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = shared.path(_WORKDIR)
    shared.check_writable(workdir, f"--workdir={workdir}")
    edges = shared.increasing("edges", _EDGES.value or ())
    run = open_run(config, workdir, _STEP.value)
    if len(run.dataset.shape) not in (2, 3):
        raise ConfigError(f"--workdir={_WORKDIR.value}: its data must be images or sounds, they are {run.dataset.name}")
    axis = run.dataset.frequency_axis()
    bands = make_bands(run.dataset.shape, tuple(edge / axis.factor for edge in edges))
    levels = np.linspace(-8.0, 8.0, _LEVELS.value)
    print(f"measuring step {run.step:,} at {len(levels)} noise levels …", flush=True)
    power, errors, ts = measure(run, levels, bands, _LIMIT.value)

    gain = np.asarray(spectra.wiener_gain(power, levels))
    relative, spread = (np.asarray(error / power) for error in errors)
    edge, measured = (np.asarray(spectra.cutoff_frequency(g, bands)) for g in (gain, 1 - relative))
    transition = run.model.schedule.time_at(spectra.transition_log_snr(power))

    by_band = Table(
        ["frequency", "coefficients", "power", "transition at log-SNR", "transition at t"],
        [
            [axis.show(f), int(n), float(p), float(-np.log(p)), float(t)]
            for f, n, p, t in zip(bands.frequency, bands.count, power, transition, strict=True)
        ],
        f"Frequencies in {axis.unit}. The transition is where the signal-to-noise ratio of the band is 1.",
    )
    by_level = Table(
        ["log-SNR", "t", "cutoff, Wiener", "cutoff, network", *(f"error at {axis.show(f)}" for f in bands.frequency)],
        [[float(level), float(t), axis.show(a), axis.show(b),
          *(f"{e:.3f} ± {s:.3f} ({w:.3f})" for e, s, w in zip(row, around, 1 - g, strict=True))]
         for level, t, a, b, row, around, g in zip(levels, ts, edge, measured, relative, spread, gain, strict=True)],
        "Cutoff: the highest frequency of which at least half is recovered. Errors of x0 as a share of its power: "
        "the network ± standard error over the examples, and in brackets the Wiener filter.",
    )  # fmt: skip
    folder = workdir / "noise_and_scale"
    every = -(-len(power) // 6)
    fine = np.linspace(-8.0, 8.0, 65)
    weights = [np.asarray(weightings.band(p)(jnp.asarray(fine))) for p in power]
    figures = [
        Figure(spectrum_figure(folder / "spectrum.png", power, bands, axis), "Bands where the data exceed the noise."),
        Figure(
            curves.panels(
                folder / "cutoff.png", levels,
                {"": {"Wiener filter": edge * axis.factor, "network": measured * axis.factor}}, xlabel=NOISE,
                ylabel=f"frequency ({axis.unit})", title="The highest frequency of which half is recovered",
                logarithmic=False,
            ),
            "Noise level is feature scale.",
        ),
        Figure(
            curves.panels(
                folder / "errors.png", levels,
                {"network": named(relative, bands, axis, every), "Wiener filter": named(1 - gain, bands, axis, every)},
                shades={"network": named(spread, bands, axis, every)}, xlabel=NOISE,
                ylabel="error of x0 / power of the band", title="What is lost of each band", logarithmic=False,
            ),
            "Left of its transition a band is lost, right of it known. Shades: one standard error over the examples.",
        ),
        Figure(
            curves.panels(
                folder / "weightings.png", fine, {"": named(np.stack(weights, 1), bands, axis, every)}, xlabel=NOISE,
                ylabel="λ per unit of log-SNR (1/nat)", title="weightings.band of each band", logarithmic=False,
            ),
            "The rate at which each band is recovered: what a loss weighted for it looks at.",
        ),
    ]  # fmt: skip
    sections: list[Section] = [Heading("Figures"), *figures, Heading("Numbers"), by_band, by_level]
    upper = slice(len(power) // 2, None)
    flags_of = ",".join(f"{p:.4g}" for p in power[upper]), ",".join(map(str, bands.count[upper]))
    advice = (
        f"to train for the frequencies from {axis.show(bands.frequency[upper][0])} {axis.unit} on: "
        f"--config.loss.weighting.name=eps "
        f"--config.loss.times.name=band --config.loss.times.power={flags_of[0]} --config.loss.times.count={flags_of[1]}"
    )
    examples = min(_LIMIT.value, len(run.dataset.test["x"]))
    summary = {**facts(run), "test examples": examples}
    report = write_report(folder / "report.html", "Noise and scale", summary, [*sections, Text(advice)])
    print(tables_as_text([by_band, by_level]))
    print(advice)
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)

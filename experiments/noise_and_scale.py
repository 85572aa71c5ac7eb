"""Noise level and feature scale of a trained model: which frequencies each noise level leaves to be recovered.

    python -m experiments.noise_and_scale --workdir=runs/digits
    python -m experiments.noise_and_scale --workdir=runs/digits --edges=0.1,0.2,0.3,0.4 --levels=25

Measures the power spectrum of the images, and for each band of frequencies and noise level the error of the denoiser
(with the null token: the class-free model) beside that of the Wiener filter, the best linear one. Prints the tables and
writes them with the figures to ``workdir/noise_and_scale/report.html``.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import command_line, curves, model, progress
from experiments.checkpoint import Experiment, config_path, open_experiment
from experiments.config import Config, ConfigError
from experiments.report import Figure, Heading, Section, Table, Text, tables_as_text, write_report
from scorekit import spectra, weightings

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_EDGES = flags.DEFINE_list("edges", None, "Frequencies at which bands meet, cycles per pixel; by default rings.")
_LEVELS = flags.DEFINE_integer("levels", 17, "Noise levels, from log-SNR -8 to 8.", lower_bound=2)
_LIMIT = flags.DEFINE_integer("examples", 1000, "Test images to measure on, at most.", lower_bound=2)

NOISE = "log-SNR (nats):  noise ←  → data"
FREQUENCY = "frequency (cycles per pixel)"


def measure(run: Experiment, levels: np.ndarray, bands: spectra.Bands, limit: int):
    """The spectrum of the test images about the average training image, and the errors of the denoiser in x0."""
    x = jnp.asarray(run.dataset.to_model(run.dataset.test["x"][:limit]))
    average = jnp.mean(run.dataset.to_model(run.dataset.train["x"]), axis=0)
    schedule, null = run.model.schedule, jnp.full(len(x), run.model.num_classes, jnp.int32)

    @jax.jit
    def both(params, x):
        denoiser = model.denoiser(run.model, params, null)
        ts = schedule.time_at(jnp.asarray(levels, jnp.float32))
        errors = spectra.error_by_band(jax.random.key(0), denoiser, schedule, x, ts, bands)
        return spectra.power_spectrum(x - average, bands), errors, ts

    return jax.tree.map(np.asarray, both(run.params, x))


def spectrum_figure(path: Path, power: np.ndarray, bands: spectra.Bands) -> Path:
    """The spectrum, and the floors of the noise at some levels: a band is recoverable where it stands above."""
    floors = {f"noise at log-SNR {level}": np.full(len(power), np.exp(-level)) for level in (-4, -2, 0, 2, 4, 6)}
    panel = {"images (centred)": power, **floors}
    title = "Power spectrum and the floors of white noise"
    ylabel = "power per coefficient (white noise of variance 1 is 1)"
    return curves.panels(path, bands.frequency, {"": panel}, xlabel=FREQUENCY, ylabel=ylabel, title=title)


def named(values: np.ndarray, bands: spectra.Bands, every: int = 1) -> dict[str, np.ndarray]:
    """Columns of ``values`` by the frequency of their band."""
    names = ["mean" if f == 0 else f"{f:.2f} cycles/pixel" for f in bands.frequency]
    return {name: values[:, k] for k, name in list(enumerate(names))[::every]}


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    edges = command_line.rising("edges", _EDGES.value or ()) or None
    run = open_experiment(config, workdir, _STEP.value)
    if len(run.dataset.shape) != 3:
        raise ConfigError(f"--workdir={_WORKDIR.value}: its data must be images, they are {run.dataset.name}")
    bands = spectra.radial_bands(run.dataset.shape[:-1], edges)
    levels = np.linspace(-8.0, 8.0, _LEVELS.value)
    print(f"measuring step {run.step:,} at {len(levels)} noise levels …", flush=True)
    power, errors, ts = measure(run, levels, bands, _LIMIT.value)

    gain = np.asarray(spectra.wiener_gain(power, levels))
    relative, spread = errors.mean / power, errors.standard_error / power
    edge, measured = (np.asarray(spectra.band_edge(g, bands)) for g in (gain, 1 - relative))
    decided = run.model.schedule.time_at(spectra.deciding_log_snr(power))

    by_band = Table(
        ["frequency", "coefficients", "power", "decided at log-SNR", "decided at t"],
        [[float(f), int(n), float(p), float(-np.log(p)), float(t)]
         for f, n, p, t in zip(bands.frequency, bands.count, power, decided, strict=True)],
        "Frequencies in cycles per pixel. A band is decided where its own signal-to-noise ratio is 1.",
    )  # fmt: skip
    by_level = Table(
        ["log-SNR", "t", "edge, Wiener", "edge, network", *(f"error at {f:.2f}" for f in bands.frequency)],
        [[float(level), float(t), float(a), float(b),
          *(f"{e:.3f} ± {s:.3f} ({w:.3f})" for e, s, w in zip(row, around, 1 - g, strict=True))]
         for level, t, a, b, row, around, g in zip(levels, ts, edge, measured, relative, spread, gain, strict=True)],
        "Edge: the highest frequency of which at least half is recovered. Errors of x0 as a share of the band's power: "
        "the network ± standard error over the images, and in brackets the Wiener filter.",
    )  # fmt: skip
    folder = workdir / "noise_and_scale"
    every = -(-len(power) // 6)
    fine = np.linspace(-8.0, 8.0, 65)
    weights = [np.asarray(weightings.band(p)(jnp.asarray(fine))) for p in power]
    figures = [
        Figure(spectrum_figure(folder / "spectrum.png", power, bands), "Where the images stand above the noise."),
        Figure(
            curves.panels(
                folder / "edge.png", levels, {"": {"Wiener filter": edge, "network": measured}}, xlabel=NOISE,
                ylabel=FREQUENCY, title="The highest frequency of which half is recovered", logarithmic=False,
            ),
            "Noise level is feature scale.",
        ),
        Figure(
            curves.panels(
                folder / "errors.png", levels,
                {"network": named(relative, bands, every), "Wiener filter": named(1 - gain, bands, every)},
                shades={"network": named(spread, bands, every)}, xlabel=NOISE, ylabel="error of x0 / power of the band",
                title="What is lost of each band", logarithmic=False,
            ),
            "Left of its transition a band is lost, right of it known. Shades: one standard error over the images.",
        ),
        Figure(
            curves.panels(
                folder / "weightings.png", fine, {"": named(np.stack(weights, 1), bands, every)}, xlabel=NOISE,
                ylabel="λ per unit of log-SNR (1/nat)", title="weightings.band of each band", logarithmic=False,
            ),
            "The rate at which each band is recovered: what a loss weighted for it looks at.",
        ),
    ]  # fmt: skip
    sections: list[Section] = [Heading("Figures"), *figures, Heading("Numbers"), by_band, by_level]
    upper = slice(len(power) // 2, None)
    flags_of = ",".join(f"{p:.4g}" for p in power[upper]), ",".join(map(str, bands.count[upper]))
    advice = (
        f"to train for the frequencies from {bands.frequency[upper][0]:.2f} on: --config.loss.weighting.name=eps "
        f"--config.loss.times.name=band --config.loss.times.power={flags_of[0]} --config.loss.times.count={flags_of[1]}"
    )
    images = min(_LIMIT.value, len(run.dataset.test["x"]))
    facts = {"data": run.dataset.name, "checkpoint": f"step {run.step:,}", "test images": images}
    report = write_report(folder / "report.html", "Noise and scale", facts, [*sections, Text(advice)])
    print(tables_as_text([by_band, by_level]))
    print(advice)
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: config_path(_WORKDIR.value))

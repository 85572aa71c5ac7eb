"""Noise level and feature scale of a trained model: which frequencies each noise level leaves to be recovered.

    python -m experiments.projects.denoising.noise_and_scale --workdir=runs/digits
    python -m experiments.projects.denoising.noise_and_scale --workdir=runs/digits --edges=0.1,0.2,0.3,0.4 --levels=25
    python -m experiments.projects.denoising.noise_and_scale --workdir=runs/notes --edges=250,500,1000

Measures the power spectrum of the images or sounds, and for each band of frequencies and noise level the errors of the
denoiser (with the null token: the class-free model) and of the Wiener filter, the best linear denoiser. Prints the
tables and writes them with the figures to ``workdir/noise_and_scale/report.html``. Bands of images are rings of
frequencies in cycles per pixel; bands of sounds are octaves in Hz.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.projects.denoising import band_errors
from experiments.reporting.report import Heading, Text, write_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.runs import open_score
from experiments.tasks.task import facts
from scorekit.densities import spectra

_WORKDIR, _STEP = shared.workdir(), shared.step()
_EDGES = flags.DEFINE_list("edges", None, "Frequencies at which bands meet, in the unit of the report.")
_LEVELS = flags.DEFINE_integer("levels", 17, "Noise levels, from log-SNR -8 to 8.", lower_bound=2)
_LIMIT = flags.DEFINE_integer("examples", 1000, "Test examples to measure on, at most.", lower_bound=2)


def main(config: Config) -> Path:
    workdir = shared.path(_WORKDIR)
    shared.check_writable(workdir, f"--workdir={workdir}")
    edges = shared.increasing("edges", _EDGES.value or ())
    run = open_score(config, workdir, _STEP.value)
    if len(run.dataset.shape) not in (2, 3):
        raise ConfigError(f"--workdir={_WORKDIR.value}: its data must be images or sounds, they are {run.dataset.name}")
    axis = run.dataset.frequency_axis()
    bands = band_errors.make_bands(run.dataset.shape, tuple(edge / axis.factor for edge in edges))
    levels = np.linspace(-8.0, 8.0, _LEVELS.value)
    print(f"measuring step {run.step:,} at {len(levels)} noise levels …", flush=True)
    power, errors, ts = band_errors.measure(run, levels, bands, _LIMIT.value)
    gain, over_power = np.asarray(spectra.wiener_gain(power, levels)), (np.asarray(error / power) for error in errors)
    spectral = band_errors.Spectral(bands, axis, power, levels, gain, *over_power)
    transition = run.model.schedule.time_at(spectra.transition_log_snr(power))
    tables, folder = band_errors.tables(spectral, ts, np.asarray(transition)), workdir / "noise_and_scale"
    upper = slice(len(power) // 2, None)
    flags_of = ",".join(f"{p:.4g}" for p in power[upper]), ",".join(map(str, bands.count[upper]))
    advice = (
        f"to train for the frequencies from {axis.show(bands.frequency[upper][0])} {axis.unit} on: "
        f"--config.loss.weighting.name=eps "
        f"--config.loss.times.name=band --config.loss.times.power={flags_of[0]} --config.loss.times.count={flags_of[1]}"
    )
    examples = min(_LIMIT.value, len(run.dataset.test["x"]))
    summary = {**facts(run), "seed": config.seed, "test examples": examples}
    sections = [Heading("Figures"), *band_errors.figures(folder, spectral), Heading("Numbers"), *tables, Text(advice)]
    report = write_report(folder / "report.html", "Noise and scale", summary, sections)
    print(tables_as_text(tables))
    print(advice)
    return report


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)

"""Training with a weighting that concentrates on one frequency band, compared with λ = 1 at equal steps.

    python -m experiments.benchmarks.band_weighting --config=experiments/configs/images/digits_band.py
    python -m experiments.benchmarks.band_weighting --config=experiments/configs/images/digits_band.py \
        --edges=0.3 --seeds=5

The spectrum of the training images is divided at ``--edges``. For each band a network is trained with
``weightings.band`` of its powers (through ``times.band``: the same objective with less variance), and one with λ = 1
and uniform times; everything else, batches and initialisation included, is that of the config. The error in each band
is then measured on the test images at many noise levels, with the same noise for all networks, and summarised by three
means over the log-SNR: of eps with the weight of the band (its part of the loss), of x0 with that weight, and of x0
with equal weight from -8 to 8 nats. Each is compared with λ = 1 of the same seed: the mean of the differences and its
standard error over seeds.
"""

import itertools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import data, training
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.data.dataset import Dataset
from experiments.models import checks, latents
from experiments.models.model import build_model, denoiser
from experiments.models.run_files import averaged
from experiments.reporting import curves
from experiments.training.quick_fit import quick_fit
from scorekit import times, weightings
from scorekit.densities import spectra

_CONFIG = shared.config("Config file, such as experiments/configs/images/digits_band.py.")
_EDGES = flags.DEFINE_list("edges", ["0.2", "0.4"], "Frequencies at which bands meet, in cycles per pixel.")
_SEEDS = shared.count("seeds", 5, "Networks for each weighting.")
_OUT = shared.out("Where to save the plot of error against noise level.", "band_weighting.png")

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
            raise ConfigError(f"--edges={','.join(_EDGES.value)}: there is no frequency between {low:g} and {high:g}")
        name = f"f < {high:g}" if low == 0 else f"f ≥ {low:g}" if high == np.inf else f"{low:g} ≤ f < {high:g}"
        bands.append(Band(name, tuple(map(float, power[chosen])), tuple(map(int, rings.count[chosen]))))
    return bands


def make_measure(dataset: Dataset, edges: list[float]):
    """``(model, params) -> (T, bands)``: the error of x0 as a share of the band's power, on the test images."""
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
    for i, kind in enumerate(MEANS):
        print(f"\n{kind}: change against λ = 1 of the same seed, mean ± standard error of {_SEEDS.value} seeds")
        print(f"{'trained with':24}" + "".join(f"{'in ' + p.name:>{width}}" for p in bands))
        baseline = found["λ = 1"][:, i]
        print(f"{'λ = 1 (the error)':24}" + "".join(f"{error:>{width}.4f}" for error in baseline.mean(axis=0)))
        for name in [p.name for p in bands]:
            cells = (
                f"{change:+.2f} ± {error:.2f} %"
                for change, error in zip(*paired(found[name][:, i], baseline), strict=True)
            )
            print(f"{'band ' + name:24}" + "".join(f"{cell:>{width}}" for cell in cells))


def main(config: Config) -> None:
    start = time.monotonic()
    base.check_fields(config)
    data.check(config)
    checks.check(config)
    training.check(config)
    edges = shared.increasing("edges", _EDGES.value)
    out = shared.results(_OUT, None, "")
    dataset = latents.load_data(config)
    if len(dataset.shape) != 3:
        raise ConfigError(f"config.data.name={config.data.name}: must be images")
    bands = divide(np.asarray(dataset.to_model(dataset.train["x"])), edges)
    measure, relative = make_measure(dataset, edges), {}
    for band in (None, *bands):
        name, model = "λ = 1" if band is None else band.name, build_model(config, dataset)
        sampler = times.uniform() if band is None else times.band(band.power, band.count)
        model = model._replace(weighting=weightings.eps, times=sampler, learns_schedule=False)
        states = quick_fit(config, model, dataset, range(_SEEDS.value), name)
        relative[name] = [measure(model, averaged(state, config.sampling.ema)) for state in states]
    show_table(bands, {name: np.stack([means(one, bands) for one in each]) for name, each in relative.items()})
    panels = {}
    for i, band in enumerate(bands):
        panels[f"error in {band.name} cycles/pixel"] = {
            name if name == "λ = 1" else f"band {name}": np.mean(each, axis=0)[:, i] for name, each in relative.items()
        }
    curves.panels(
        out, LOG_SNRS, panels, xlabel="log-SNR (nats):  noise ←  → data",
        ylabel="error of x0 / power of the band", title="Trained with λ = 1, or with the weighting of one band",
    )  # fmt: skip
    print(progress.final_line(str(out), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, base.check_fields)

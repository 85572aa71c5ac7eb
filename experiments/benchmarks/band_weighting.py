"""What a weighting that concentrates on a band of feature scales gives, against λ = 1 at equal steps.

    python -m experiments.benchmarks.band_weighting --config=experiments/configs/images/digits_band.py
    python -m experiments.benchmarks.band_weighting --config=experiments/configs/images/digits_band.py --edges=0.3 --seeds=5

The spectrum of the training images is cut at ``--edges``; for each band a network is trained with ``weightings.band``
of its powers (by way of ``times.band``: the same objective with less variance), and one with λ = 1 and uniform times;
everything else, batches and initialisation included, is that of the config. The error in each band is then measured on
the test images at many noise levels, with the same noise for all networks, and told in three means over the log-SNR: of
eps with the weight of the band (its part of the loss), of x0 with that weight, and of x0 with equal weight from -8 to 8
nats. Each is compared with λ = 1 of the same seed: the mean of the differences and its standard error over seeds.
"""

import itertools
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli.config import Config, ConfigError, check_config
from experiments.configs import base
from experiments.data.dataset import Dataset, load_dataset
from experiments.models import choices as build
from experiments.models import model
from experiments.reporting import curves
from experiments.training.quick_fit import averaged, fit
from scorekit import spectra, times, weightings

_CONFIG = flags.DEFINE_string(
    "config", None, "Config file, such as experiments/configs/images/digits_band.py.", required=True
)
_EDGES = flags.DEFINE_list("edges", ["0.2", "0.4"], "Frequencies at which the bands meet, cycles per pixel.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Networks for each weighting.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "band_weighting.png", "Where to save the plot of error against noise level.")

LEVELS = np.linspace(-8.0, 8.0, 33)
MEANS = (
    "error of eps where the band is decided",
    "error of x0 where the band is decided, share of power",
    "error of x0 with equal weight from -8 to 8 nats, share of power",
)


class Part(NamedTuple):
    """A band: its name, and the power and number of coefficients of each ring of frequencies in it."""

    name: str
    power: tuple[float, ...]
    count: tuple[int, ...]


def cut(x: np.ndarray, edges: list[float]) -> list[Part]:
    """The spectrum of centred images cut at ``edges``."""
    bands = spectra.radial_bands(x.shape[1:-1])
    power = np.asarray(spectra.power_spectrum(x - x.mean(axis=0), bands))
    ends = [0.0, *edges, np.inf]
    parts = []
    for low, high in itertools.pairwise(ends):
        chosen = (bands.frequency >= low) & (bands.frequency < high) & (power > 0)
        if not chosen.any():
            raise ConfigError(f"--edges={','.join(_EDGES.value)}: there is no frequency between {low:g} and {high:g}")
        name = f"f < {high:g}" if low == 0 else f"f ≥ {low:g}" if high == np.inf else f"{low:g} ≤ f < {high:g}"
        parts.append(Part(name, tuple(map(float, power[chosen])), tuple(map(int, bands.count[chosen]))))
    return parts


def make_measure(dataset: Dataset, edges: list[float]):
    """``(model, params) -> (T, bands)``: the error of x0 as a share of the band's power, on the test images."""
    x = dataset.to_model(dataset.test["x"])
    bands = spectra.radial_bands(dataset.shape[:-1], edges)
    power = spectra.power_spectrum(x - dataset.to_model(dataset.train["x"]).mean(axis=0), bands)

    @jax.jit
    def errors(built_denoiser, schedule, x):
        ts = schedule.time_at(jnp.asarray(LEVELS, jnp.float32))
        return spectra.error_by_band(jax.random.key(0), built_denoiser, schedule, x, ts, bands).mean / power

    def measure(built, params):
        null = jnp.full(len(x), built.num_classes, jnp.int32)
        return np.asarray(errors(model.denoiser(built, params, null), built.schedule, x))

    return measure


def means(relative: np.ndarray, parts: list[Part]) -> np.ndarray:
    """Relative errors ``(T, bands)`` to the means of :data:`MEANS`, ``(3, bands)``."""
    weights = np.stack([np.asarray(weightings.band(p.power, p.count)(jnp.asarray(LEVELS))) for p in parts], 1)
    mean = lambda w, error: (w * error).sum(axis=0) / w.sum(axis=0)
    power = [np.average(p.power, weights=p.count) for p in parts]
    eps = relative * power * np.exp(LEVELS)[:, None]
    return np.stack([mean(weights, eps), mean(weights, relative), relative.mean(axis=0)])


def paired(errors: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much lower or higher errors ``(seeds, ...)`` are than those of ``base`` with the same seeds, in per cent, and
    the standard error of that over seeds (NaN for a single one).

    >>> change, error = paired(np.array([0.9, 1.6]), np.array([1.0, 2.0]))
    >>> print(f"{change:.1f} ± {error:.1f}")
    -15.0 ± 5.0
    """
    change = 100.0 * (errors / base - 1.0)
    n = len(change)
    spread = np.std(change, axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(change.shape[1:], np.nan)
    return change.mean(axis=0), spread


def show_table(parts: list[Part], found: dict[str, np.ndarray]) -> None:
    """Differences to λ = 1 with the same seed."""
    width = max(max(len(p.name) for p in parts) + 5, 20)
    for i, kind in enumerate(MEANS):
        print(f"\n{kind}: change against λ = 1 of the same seed, mean ± standard error of {_SEEDS.value} seeds")
        print(f"{'trained with':24}" + "".join(f"{'in ' + p.name:>{width}}" for p in parts))
        base = found["λ = 1"][:, i]
        print(f"{'λ = 1 (the error)':24}" + "".join(f"{error:>{width}.4f}" for error in base.mean(axis=0)))
        for name in [p.name for p in parts]:
            cells = (
                f"{change:+.2f} ± {error:.2f} %" for change, error in zip(*paired(found[name][:, i], base), strict=True)
            )
            print(f"{'band ' + name:24}" + "".join(f"{cell:>{width}}" for cell in cells))


def main(config: Config) -> None:
    start = time.monotonic()
    check_config(config, base.get_config())
    build.check_choices(config)
    edges = command_line.rising("edges", _EDGES.value)
    dataset = load_dataset(config)
    if len(dataset.shape) != 3:
        raise ConfigError(f"config.data.name={config.data.name}: must be images")
    parts = cut(np.asarray(dataset.to_model(dataset.train["x"])), edges)
    measure, relative = make_measure(dataset, edges), {}
    for part in (None, *parts):
        name, built = "λ = 1" if part is None else part.name, model.build_model(config, dataset)
        looked_at = times.uniform() if part is None else times.band(part.power, part.count)
        built = built._replace(weighting=weightings.eps, times=looked_at)
        states = fit(config, built, dataset, range(_SEEDS.value), name)
        relative[name] = [measure(built, averaged(config, state)) for state in states]
    show_table(parts, {name: np.stack([means(one, parts) for one in each]) for name, each in relative.items()})
    panels = {}
    for i, part in enumerate(parts):
        panels[f"error in {part.name} cycles/pixel"] = {
            name if name == "λ = 1" else f"band {name}": np.mean(each, axis=0)[:, i] for name, each in relative.items()
        }
    curves.panels(
        _OUT.value, LEVELS, panels, xlabel="log-SNR (nats):  noise ←  → data",
        ylabel="error of x0 / power of the band", title="Trained with λ = 1, or with the weighting of one band",
    )  # fmt: skip
    print(progress.final_line(str(Path(_OUT.value).absolute()), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value)

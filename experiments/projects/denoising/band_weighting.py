"""Training with a weighting that concentrates on one frequency band, compared with λ = 1 at equal steps.

    python -m experiments.projects.denoising.band_weighting --config=experiments/configs/images/digits.py:band
    python -m experiments.projects.denoising.band_weighting --config=… --edges=0.3

The spectrum of the training images is divided at ``--edges``. For each band a network is trained with
``weightings.band`` of its powers (through ``times.band``: the same objective with less variance), and one with λ = 1
and uniform times; everything else, batches and initialisation included, is as in the config. The error of eps in each
band is then measured on the test images at 33 log-SNRs from -8 to 8 nats, with the same noise for all networks, and
averaged with the weight of the band, its part of the loss. It is compared with λ = 1 of the same seed: the mean of the
differences and its standard error over seeds.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import data, tasks
from experiments import training as run_training
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Dataset
from experiments.models.run_files import averaged
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_model, dropout
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.objectives import Denoising
from experiments.training.feeding import feed
from experiments.training.hooks import LOOKED_AT, check_steps
from scorekit import times, training, weightings
from scorekit.densities import spectra
from scorekit.training import TrainState

_CONFIG = shared.config("Config file, such as experiments/configs/images/digits.py:band.")
_EDGES = flags.DEFINE_list("edges", ["0.2", "0.4"], "Frequencies at which bands meet, in cycles per pixel.")
_SEEDS = shared.count("seeds", 5, "Networks for each weighting.")
LOG_SNRS = np.linspace(-8.0, 8.0, 33)
"""The noise levels, in nats."""


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


def make_measure(dataset: Dataset, bands: list[Band], edges: list[float]):
    """``(model, params) -> (bands,)``: the error of eps on the test images with the weight of each band."""
    x = dataset.to_model(dataset.test["x"])
    rings = spectra.radial_bands(dataset.shape[:-1], edges)
    power = spectra.power_spectrum(x - dataset.to_model(dataset.train["x"]).mean(axis=0), rings)
    weights = np.stack([np.asarray(weightings.band(p.power, p.count)(jnp.asarray(LOG_SNRS))) for p in bands], 1)
    scale = np.asarray([np.average(p.power, weights=p.count) for p in bands]) * np.exp(LOG_SNRS)[:, None]

    @jax.jit
    def errors(denoise, schedule, x):
        ts = schedule.time_at(jnp.asarray(LOG_SNRS, jnp.float32))
        return spectra.error_by_band(jax.random.key(0), denoise, schedule, x, ts, rings).mean / power

    def measure(model, params):
        null = jnp.full(len(x), model.num_classes, jnp.int32)
        relative = np.asarray(errors(model.denoiser(params, null), model.schedule, x))
        return (weights * relative * scale).sum(axis=0) / weights.sum(axis=0)

    return measure


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


def fit(config: Config, model: Model, dataset: Dataset, seeds: Sequence[int], label: str) -> Iterator[TrainState]:
    """Trains the network of a config from each seed, in one go and compiling once; yields the final states.

    The model has the weighting and times to train with; of ``config.loss`` only the dropout of conditions is read.
    """
    options, mesh = config.training, training.make_mesh()
    optimizer = run_training.build_optimizer(options, module=model.module)
    prepare = make_prepare(model, dataset, *dropout(config))
    train_step = training.make_train_step(prepare, make_loss(model), optimizer, mesh=mesh)
    size, averages = {"steps": options.steps, "batch_size": options.batch_size}, options.power_ema or ()
    for seed in seeds:
        key = jax.random.key(seed)
        state = training.init_state(key, model.init(key), optimizer, options.ema_decays, averages)
        with (
            progress.Progress(options.steps, batch_size=options.batch_size, label=f"{label}, seed {seed}") as bar,
            feed(dataset, mesh, seed=seed, **size) as batches,
        ):
            for step, batch in enumerate(batches, 1):
                state, metrics = train_step(state, batch)
                bar.update(step, metrics["loss"])
                if step % LOOKED_AT == 0 or step == options.steps:
                    check_steps(state, options.skip_limit)
        yield state


def main(config: Config) -> None:
    diffusion.check_fields(config)
    run_training.check(config)
    edges = shared.increasing("edges", _EDGES.value)
    dataset = data.load(config)
    diffusion.build(config, dataset)
    if len(dataset.shape) != 3:
        raise ConfigError(f"config.data.name={config.data.name}: must be images")
    bands = divide(np.asarray(dataset.to_model(dataset.train["x"])), edges)
    measure, errors = make_measure(dataset, bands, edges), {}
    for band in (None, *bands):
        name, model = "λ = 1" if band is None else f"band {band.name}", build_model(config, dataset)
        sampler = times.Uniform() if band is None else times.band(band.power, band.count)
        model = dataclasses.replace(model, objective=Denoising(sampler, weightings.eps))
        states = fit(config, model, dataset, range(_SEEDS.value), name)
        errors[name] = np.stack([measure(model, averaged(state, config.sampling.ema)) for state in states])
    width = max(max(len(p.name) for p in bands) + 5, 20)
    line = lambda name, cells: print(f"{name:24}" + "".join(f"{cell:>{width}}" for cell in cells))
    baseline = errors.pop("λ = 1")
    seeds = f"mean ± standard error of {len(baseline)} seeds"
    print(f"\nerror of eps with the weight of the band: change against λ = 1 of the same seed, {seeds}")
    line("trained with", [f"in {band.name}" for band in bands])
    line("λ = 1 (the error)", [f"{error:.4f}" for error in baseline.mean(axis=0)])
    for name, each in errors.items():
        changes = zip(*paired(each, baseline), strict=True)
        line(name, [f"{change:+.2f} ± {error:.2f} %" for change, error in changes])


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.opened(_CONFIG.value), diffusion.check_fields)

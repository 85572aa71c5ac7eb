"""The model whose idea of "in distribution" is put to the test: a density fitted in closed form, or a network."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments.training import loop
from experiments.models import model
from experiments import train
from experiments.models.runs import config_path, open_experiment
from experiments.cli.config import Config, ConfigError, choice, load_resolved
from experiments.data.dataset import Dataset
from scorekit import denoisers, densities, likelihood, process, schedules, solvers
from scorekit.typing import Array, Denoiser, Key, Schedule

MODELS = ("network", "gaussian", "mixture")


class Scored(NamedTuple):
    """A model of the in-distribution set.

    Attributes:
      denoiser: without labels; takes any batch of images in [-1, 1].
      schedule: its noise schedule.
      log_density: ``(key, x_t) -> log p`` of images with the noise of ``t_min``, nats.
      t_min: where one grey value is four standard deviations of the noise wide.
      name: for people.
    """

    denoiser: Denoiser
    schedule: Schedule
    log_density: Callable[[Key, Array], Array]
    t_min: Array
    name: str


def first_time(schedule: Schedule, levels: int) -> Array:
    """The time at which ``sigma / alpha`` is a quarter of the distance between two grey values."""
    return schedule.time_at(2.0 * math.log(2.0 * (levels - 1)))


def open_model(config: Config, dataset: Dataset, workdir: Path) -> Scored:
    """The model that ``config.kind`` names: fitted, loaded from ``config.run``, or trained into ``workdir/model``.

    Raises:
      ConfigError: for an unknown kind, or a run that is not there or was trained on other data.
    """
    if choice("kind", config.kind, MODELS) != "network":
        return _fitted(config, dataset)
    if config.run:
        folder = Path(config.run).expanduser().absolute()
        run = open_experiment(load_resolved(config_path(config.run)), folder, None)
        if run.dataset.shape != dataset.shape or run.dataset.levels != dataset.levels:
            had = f"{run.dataset.name}, {run.dataset.shape} with {run.dataset.levels} grey values"
            raise ConfigError(f"config.run={config.run}: was trained on {had}, and not on {dataset.name} as configured")
        return _network(config, run.model, run.params, dataset, f"{folder.name}, step {run.step:,}")
    options = config.train
    train.check(options)
    loop.check_same_run(options, workdir / "model")
    built = model.build_model(options, dataset)
    generate = model.make_sampler(options, built, dataset)
    state = train.train(options, workdir / "model", dataset, built, generate)
    params = train.sampling_params(options, state)
    return _network(config, built, params, dataset, f"network after {options.training.steps:,} steps")


def _unlabelled(built, params, x_t, t):
    labels = jnp.full(x_t.shape[0], built.num_classes, jnp.int32)  # the null token
    return model.denoiser(built, params, labels)(x_t, t)


def _network(config: Config, built: model.Model, params, dataset: Dataset, name: str) -> Scored:
    denoiser = Partial(functools.partial(_unlabelled, built), params)
    assert dataset.levels is not None
    t_min = first_time(built.schedule, dataset.levels)
    log_density = along_flow(denoiser, built.schedule, t_min, config.likelihood_steps, config.probes)
    return Scored(denoiser, built.schedule, log_density, t_min, name)


def along_flow(denoiser: Denoiser, schedule: Schedule, t_min: Array, steps: int, probes: int):
    """``(key, x_t) -> log p`` by the probability-flow ODE from ``t_min``, with four evaluations a step and ``probes``
    tangents each.

    The steps crowd at the data end: flat regions of images, whose variance is below that of the noise there, add half
    a nat of log-density per value and nat of log-SNR, however small the noise already is.
    """
    ts = solvers.grids.quadratic(steps, 0.999, t_min, power=4.0)

    def log_density(key, x_t):
        options = {"divergence": "rademacher", "probes": probes, "chunk": probes}
        return likelihood.log_likelihood(key, denoiser, schedule, x_t, ts=ts, **options).log_p

    return log_density


def _fitted(config: Config, dataset: Dataset) -> Scored:
    x = np.asarray(dataset.to_model(dataset.train["x"]), np.float64).reshape(len(dataset.train["x"]), -1)
    label = dataset.train["label"]
    groups = [x] if config.kind == "gaussian" else [x[label == k] for k in np.unique(label)]
    parts = [_low_rank(group, config.rank, config.floor) for group in groups]
    density = parts[0] if len(parts) == 1 else densities.mixture(np.array([len(g) for g in groups]), parts)
    schedule = schedules.cosine()
    assert dataset.levels is not None
    t_min = first_time(schedule, dataset.levels)
    exact = denoisers.exact_denoiser(density, schedule)

    def denoiser(x_t, t):
        flat = exact(x_t.reshape(x_t.shape[0], -1), t)
        return jax.tree.map(lambda leaf: leaf.reshape(x_t.shape), flat)

    def log_density(key, x_t):
        del key
        noisy = density.marginal(schedule.alpha(t_min), schedule.sigma(t_min))
        return noisy.log_density(x_t.reshape(x_t.shape[0], -1))

    kind = "one Gaussian" if len(parts) == 1 else f"mixture of {len(parts)} Gaussians, one a class"
    return Scored(denoiser, schedule, log_density, t_min, f"{kind}, rank {config.rank}, exact denoiser")


def _low_rank(x: np.ndarray, rank: int, floor: float) -> densities.Gaussian:
    """The principal directions of the data, and the mean variance of the rest (or ``floor``^2 if that is more)."""
    mean = x.mean(axis=0)
    _, scales, directions = np.linalg.svd(x - mean, full_matrices=False)
    variances = scales**2 / (len(x) - 1)
    rest = max(variances[rank:].sum() / max(x.shape[1] - rank, 1), floor**2)
    factor = directions[:rank].T * np.sqrt(np.maximum(variances[:rank] - rest, 0.0))
    as_float = functools.partial(jnp.asarray, dtype=jnp.float32)
    return densities.gaussian(as_float(mean), std=math.sqrt(rest), factor=as_float(factor))


def noisy(key: Key, schedule: Schedule, x: Array, t: Array) -> Array:
    """Images with the noise of time t."""
    return process.perturb(x, jax.random.normal(key, x.shape, x.dtype), t, schedule)

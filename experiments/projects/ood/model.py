"""The model that scores images: a density fitted in closed form, a network, or an invertible flow."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import training
from experiments.cli.config import Config, ConfigError, choice
from experiments.data.dataset import Dataset
from experiments.models.devices import COPIES, param_shapes
from experiments.tasks import saved
from experiments.tasks.diffusion import task
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.model import Model, at_params, unconditional
from experiments.tasks.diffusion.runs import open_run
from experiments.tasks.flows import model as flows
from experiments.training.run import check_same_run
from experiments.training.train_network import train_network
from scorekit import denoisers, densities, likelihood, process, schedules, solvers
from scorekit.typing import Array, Denoiser, Key, Schedule

MODELS = ("network", "gaussian", "mixture", "flow")


class ScoredModel(NamedTuple):
    """A model of the in-distribution set.

    Attributes:
      denoiser: without labels, of any batch of images in [-1, 1].
      schedule: its noise schedule.
      log_density: ``(key, x_t) -> log p`` of images with the noise of ``noised``, nats.
      t_min: time at which a grey value is four standard deviations of the noise wide.
      name: description for people.
      noised: ``(key, x) -> x_t``: images with the noise at which the density is taken.
      map_density: ``log_density`` by the jumps of a flow map with a divergence head; None for another model.
      has_levels: whether the denoiser is of every noise level, and not of the one density of a flow.
    """

    denoiser: Denoiser
    schedule: Schedule
    log_density: Callable[[Key, Array], Array]
    t_min: Array
    name: str
    noised: Callable[[Key, Array], Array]
    map_density: Callable[[Key, Array], Array] | None = None
    has_levels: bool = True


def first_time(schedule: Schedule, bins: int) -> Array:
    """The time at which ``sigma / alpha`` is a quarter of the distance between two grey values."""
    return schedule.time_at(2.0 * math.log(2.0 * (bins - 1)))


def open_model(config: Config, dataset: Dataset, workdir: Path) -> ScoredModel:
    """The model that ``config.kind`` names: fitted, loaded from ``config.run``, or trained into ``workdir/model``."""
    kind = choice("kind", config.kind, MODELS)
    if kind in ("gaussian", "mixture"):
        return _fitted(config, dataset)
    if config.run:
        folder, of_flow = Path(config.run).expanduser().absolute(), kind == "flow"
        run = (
            flows.open_run(saved(config.run, "flow"), folder)
            if of_flow
            else open_run(diffusion.saved(config.run), folder)
        )
        if run.dataset.shape != dataset.shape or run.dataset.bins != dataset.bins:
            had = f"{run.dataset.name}, {run.dataset.shape} with {run.dataset.bins} grey values"
            raise ConfigError(f"config.run={config.run}: was trained on {had}, and not on {dataset.name} as configured")
        if of_flow:
            return _of_flow(config, run.model, run.params, dataset, f"flow {folder.name}, step {run.step:,}")
        return _network(config, run.model, run.params, dataset, f"{folder.name}, step {run.step:,}")
    options = config.train
    built = task.build(options, dataset)
    one = built.trained._replace(draw=None)
    param_shapes(options, "network", lambda: one.init(jax.random.key(0)), copies=COPIES)
    params = train_network(options, workdir / "model", one, dataset)
    model = at_params(built.built, params)
    return _network(config, model, params, dataset, f"network after {options.training.steps:,} steps")


def check_training(options: Config, dataset: Dataset, workdir: Path) -> None:
    """Validates the config of the network that is trained here."""
    diffusion.check_fields(options)
    task.build(options, dataset)
    training.check(options)
    training.check_devices(options)
    check_same_run(options, workdir / "model")


def _network(config: Config, model: Model, params, dataset: Dataset, name: str) -> ScoredModel:
    denoiser = unconditional(model, params)
    assert dataset.bins is not None
    t_min = first_time(model.schedule, dataset.bins)
    log_density = along_flow(denoiser, model.schedule, t_min, config.likelihood_steps, config.probes)
    of_map: Any = model
    null = lambda x_t: jnp.full(x_t.shape[0], model.num_classes, jnp.int32)
    by_map = lambda key, x_t: of_map.map_likelihood(params, null(x_t), x_t, config.jumps, (t_min, 0.999)).log_p
    noised = functools.partial(noisy, model.schedule, t_min)
    by_map = by_map if model.divergence else None
    return ScoredModel(denoiser, model.schedule, log_density, t_min, name, noised, by_map)


def _of_flow(config: Config, model: flows.Flows, params, dataset: Dataset, name: str) -> ScoredModel:
    """The exact density of a flow of all classes together, each equally likely, with the noise of dequantisation."""
    if model.extracts:
        raise ConfigError(f"config.run={config.run}: must be a flow without conditions apart from the class")
    schedule, classes = schedules.cosine(), jnp.arange(model.module.num_classes or 1)
    assert dataset.bins is not None

    def log_density(key, x_t):
        del key
        given = lambda k: {"labels": jnp.full(x_t.shape[0], k, jnp.int32)}
        of_class = jax.vmap(lambda k: flows.log_prob(model, params, x_t, given(k)))(classes)
        return jax.scipy.special.logsumexp(of_class, axis=0) - math.log(len(classes))

    denoiser = denoisers.denoiser_from_log_density(lambda x_t, t: log_density(None, x_t), schedule)
    noised = lambda key, x: flows.dequantised(model, key, {"x": x})
    t_min = first_time(schedule, dataset.bins)
    return ScoredModel(denoiser, schedule, log_density, t_min, name, noised, has_levels=False)


def along_flow(denoiser: Denoiser, schedule: Schedule, t_min: Array, steps: int, probes: int):
    """``(key, x_t) -> log p`` by the probability-flow ODE from ``t_min``, with four evaluations a step and ``probes``
    tangents each.

    The steps are dense at the data end: flat regions of images, whose variance is below the variance of the noise, add
    half a nat of log-density per value and nat of log-SNR, however small the noise already is.
    """
    ts = solvers.grids.quadratic(steps, 0.999, t_min, power=4.0)

    def log_density(key, x_t):
        options = {"divergence": "rademacher", "probes": probes, "chunk": probes}
        return likelihood.log_likelihood(key, denoiser, schedule, x_t, ts=ts, **options).log_p

    return log_density


def _fitted(config: Config, dataset: Dataset) -> ScoredModel:
    x = np.asarray(dataset.to_model(dataset.train["x"])).reshape(len(dataset.train["x"]), -1)
    label = dataset.train["label"]
    groups = [x] if config.kind == "gaussian" else [x[label == k] for k in np.unique(label)]
    parts = [densities.fit_gaussian(group, config.rank, config.floor) for group in groups]
    density = parts[0] if len(parts) == 1 else densities.mixture(np.array([len(g) for g in groups]), parts)
    schedule = schedules.cosine()
    assert dataset.bins is not None
    t_min = first_time(schedule, dataset.bins)
    exact = denoisers.exact_denoiser(density, schedule)

    def denoiser(x_t, t):
        flat = exact(x_t.reshape(x_t.shape[0], -1), t)
        return jax.tree.map(lambda leaf: leaf.reshape(x_t.shape), flat)

    def log_density(key, x_t):
        del key
        noisy = density.marginal(schedule.alpha(t_min), schedule.sigma(t_min))
        return noisy.log_density(x_t.reshape(x_t.shape[0], -1))

    kind = "one Gaussian" if len(parts) == 1 else f"mixture of {len(parts)} Gaussians, one a class"
    noised = functools.partial(noisy, schedule, t_min)
    return ScoredModel(denoiser, schedule, log_density, t_min, f"{kind}, rank {config.rank}, exact denoiser", noised)


def noisy(schedule: Schedule, t: Array, key: Key, x: Array) -> Array:
    """Images with the noise of time t."""
    return process.perturb(x, jax.random.normal(key, x.shape, x.dtype), t, schedule)

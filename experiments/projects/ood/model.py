"""The model that scores images: the denoiser of a run, and its log-density at a small noise level."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax

from experiments.cli.config import ConfigError
from experiments.data.images import ImageSet
from experiments.tasks.diffusion.model import unconditional
from experiments.tasks.task import Run
from scorekit import likelihood, process, solvers
from scorekit.typing import Array, Denoiser, Key, Schedule

LogDensity = Callable[[Key, Array], Array]
"""``(key, x_t) -> log p`` of images with the noise of ``t_min``, nats."""


class ScoredModel(NamedTuple):
    """A model of the in-distribution set.

    Attributes:
      denoiser: without labels, of any batch of images in [-1, 1].
      schedule: its noise schedule.
      t_min: time at which a grey value is four standard deviations of the noise wide.
      log_density: by the probability-flow ODE, or exact.
    """

    denoiser: Denoiser
    schedule: Schedule
    t_min: Array
    log_density: LogDensity

    def noised(self, key: Key, x: Array) -> Array:
        """Images with the noise at which the density is taken."""
        return process.perturb(self.schedule, x, jax.random.normal(key, x.shape, x.dtype), self.t_min)


def first_time(schedule: Schedule, bins: int) -> Array:
    """The time at which ``sigma / alpha`` is a quarter of the distance between two grey values."""
    return schedule.time_at(2.0 * math.log(2.0 * (bins - 1)))


def of_run(run: Run, steps: int, probes: int) -> ScoredModel:
    """The model of an opened run of images; ``steps`` and ``probes`` as for :func:`along_flow`."""
    model, dataset = run.model, run.dataset
    if not isinstance(dataset, ImageSet) or dataset.bins is None:
        raise ConfigError(f"--workdir: must be the run of a model of images, this one is of {dataset.name}")
    denoiser, schedule = unconditional(model, run.params), model.schedule
    t_min = first_time(schedule, dataset.bins)
    return ScoredModel(denoiser, schedule, t_min, along_flow(denoiser, schedule, t_min, steps, probes))


def along_flow(denoiser: Denoiser, schedule: Schedule, t_min: Array, steps: int, probes: int) -> LogDensity:
    """The log-density by the probability-flow ODE from ``t_min``, with four evaluations a step and ``probes`` tangents
    each.

    The steps are dense at the data end: flat regions of images, whose variance is below the variance of the noise, add
    half a nat of log-density per value and nat of log-SNR, however small the noise already is.
    """
    ts = solvers.grids.quadratic(steps, 0.999, t_min, power=4.0)
    options = {"divergence": "rademacher", "num_probes": probes, "chunk": probes}
    find = functools.partial(likelihood.log_likelihood, ts=ts, **options)
    return lambda key, x_t: find(denoiser, schedule, x_t, key=key).log_p

"""A noise schedule that is trained with the network, ``config.schedule.name=learned`` (Kingma et al. 2021).

Its parameters are beside those of the network, so that they are averaged, saved and restored with them. The loss is the
variational bound per dimension, whose gradient moves the ends of the log-SNR. What is between the ends does not change
the bound, but the variance of its estimate: it follows the gradient of the squared diffusion loss.
"""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp

from experiments.cli.config import Config, require
from scorekit.schedules import time_derivative
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, PyTree, Schedule

NAME = "learned"
"""Of the schedule in a config."""
SCHEDULE = "schedule"
"""Where its parameters are among those of the network."""
_INTERIOR = ("heights", "slopes")


def is_learned(config: Config) -> bool:
    """Whether the schedule of a config is trained."""
    return config.schedule.name == NAME


def check(config: Config) -> None:
    """Validates that the loss of a learned schedule is the variational bound between its ends."""
    if not is_learned(config):
        return
    for field, value, allowed in (
        ("noise_factor", config.noise_factor, 1.0),
        ("loss.weighting.name", config.loss.weighting.name, "likelihood"),
        ("loss.log_variance", config.loss.log_variance or None, None),
        ("loss.times.name", config.loss.times.name, "uniform"),
        ("loss.times.t_min", config.loss.times.t_min, 0.0),
        ("loss.times.t_max", config.loss.times.t_max or 1.0, 1.0),
    ):
        require(value == allowed, field, value, f"{allowed} for schedule.name={NAME}, which is trained by the bound")


def init_schedule(schedule: Schedule) -> dict[str, Array]:
    """The initial parameters: the fields of :func:`scorekit.schedules.learned`."""
    names = [field.name for field in dataclasses.fields(cast(Any, schedule))]
    return {name: jnp.array(getattr(schedule, name), jnp.float32) for name in names}


def schedule_of(schedule: Schedule, params: PyTree) -> Schedule:
    """The schedule that some parameters hold; ``schedule`` itself where none is among them."""
    return dataclasses.replace(cast(Any, schedule), **params[SCHEDULE]) if SCHEDULE in params else schedule


@pytree_dataclass
class OfExamples:
    """A schedule for each example: leaves of ``each`` are ``(B, ...)``, all times ``(B,)``."""

    each: Schedule

    def alpha(self, t):
        return jax.vmap(lambda schedule, t: schedule.alpha(t))(self.each, t)

    def sigma(self, t):
        return jax.vmap(lambda schedule, t: schedule.sigma(t))(self.each, t)

    def log_snr(self, t):
        return jax.vmap(lambda schedule, t: schedule.log_snr(t))(self.each, t)

    def time_at(self, log_snr):
        return jax.vmap(lambda schedule, value: schedule.time_at(value))(self.each, log_snr)


def rate_weight(schedule: Schedule, t: Array) -> Array:
    """``-1/2 dlog_snr/dt``, with which the squared error of eps at uniform times is the bound."""
    return -0.5 * time_derivative(schedule.log_snr, t)


def with_variance_gradient(diffusion):
    """``(params, schedule, batch) -> (diffusion loss (B,), aux)`` whose interior is trained for a small variance.

    In the gradient with respect to the parameters and the ends of the schedule this is ``diffusion``. With respect to
    what is between the ends it is the gradient of the squared losses, ``2 L_i dL_i`` for each example, which is that of
    their variance: their mean does not depend on it. One backward pass gives both, as it gives the gradient with
    respect to the schedule of each example.

    Args:
      diffusion: ``(params, schedule, batch) -> (loss (B,), aux)``; no gradient is taken with respect to the batch.
    """

    @jax.custom_vjp
    def of_examples(params, schedules, batch):
        return diffusion(params, schedules, batch)

    def forward(params, schedules, batch):
        value, pullback, aux = jax.vjp(lambda *args: diffusion(*args, batch), params, schedules, has_aux=True)
        return (value, aux), (value, pullback)

    def backward(residuals, cotangents):
        value, pullback = residuals
        for_params, for_schedules = pullback(cotangents[0])
        each = for_schedules.each
        squared = {name: jax.vmap(jnp.multiply)(2.0 * value, getattr(each, name)) for name in _INTERIOR}
        return for_params, OfExamples(each=dataclasses.replace(each, **squared)), None

    of_examples.defvjp(forward, backward)

    def loss(params, schedule, batch):
        repeat = lambda leaf: jnp.broadcast_to(leaf, (*batch["t"].shape, *jnp.shape(leaf)))
        return of_examples(params, OfExamples(each=jax.tree.map(repeat, schedule)), batch)

    return loss

"""What a diffusion model is trained by: objectives with their random draws and losses, and which noise goes with which
example, a row of :data:`OBJECTIVES` and of :data:`COUPLINGS`."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from experiments.cli.choices import Choice, Choices
from scorekit import forcing, interpolants, likelihood, losses, weightings
from scorekit import times as time_samplers
from scorekit.arguments import Count
from scorekit.interpolants import couplings
from scorekit.schedules import time_derivative
from scorekit.times import Times, TimeSampler
from scorekit.training import optimal_assignment
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, Key, PyTree, Schedule, Weighting

Draws = dict[str, Any]


class Objective(Protocol):
    """A loss with its random draws.

    Attributes:
      times: the distribution of times.
      weighting: the weight of a noise level in the loss, a weighting of :mod:`scorekit.weightings`, or None.
      learns_schedule: whether the schedule is trained with the network.
    """

    learns_schedule: bool

    @property
    def times(self) -> TimeSampler: ...

    @property
    def weighting(self) -> Any: ...

    def draw(self, for_times: Key, key: Key, model: Any, x: Array, progress: Any) -> Draws:
        """The random values of a batch of examples ``x``: times ``t`` with their ``weight``, and further ones."""
        ...

    def complete(self, key: Key, model: Any, prepared: Draws, batch: Mapping[str, Any]) -> Draws:
        """The prepared batch, with the values that depend on its conditions."""
        ...

    def loss(self, model: Any, params: PyTree, batch: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
        """The loss of each example, and its ``log_snr`` and ``error`` (eps-MSE, or the loss of a flow map)."""
        ...


class Denoising(NamedTuple):
    """The weighted squared error of the output, at times drawn for each example."""

    times: TimeSampler
    weighting: Weighting
    learns_schedule = False

    def draw(self, for_times, key, model, x, progress):
        del key
        sampler = time_samplers.at_progress(self.times, progress)
        return time_samplers.draw(for_times, sampler, model.schedule, x.shape[0])._asdict()

    def complete(self, key, model, prepared, batch):
        del key, model, batch
        return prepared

    def loss(self, model, params, batch):
        return _squared_error(losses.denoising_loss_at, self.weighting, model, params, batch)


class FrameLevels(NamedTuple):
    """Denoising with a time, and so a noise level, for each frame (diffusion forcing)."""

    times: TimeSampler
    weighting: Weighting
    learns_schedule = False

    complete = Denoising.complete

    def draw(self, for_times, key, model, x, progress):
        del key
        sampler = time_samplers.at_progress(self.times, progress)
        return forcing.draw_times(for_times, sampler, model.schedule, x.shape[0], x.shape[1])._asdict()

    def loss(self, model, params, batch):
        return _squared_error(forcing.denoising_loss_at, self.weighting, model, params, batch)


def _squared_error(loss_at, weighting: Weighting, model: Any, params: PyTree, batch: Mapping[str, Any]):
    network = model.network(params, batch["conditions"], batch.get("dropout"))
    at = Times(batch["t"], batch["weight"])
    x, eps = batch["x"], batch["eps"]
    value, aux = loss_at(network, model.schedule, x, eps, at, target=model.target, weighting=weighting)
    return value, {"log_snr": aux.log_snr, "error": aux.eps_mse}


class Bound(NamedTuple):
    """The variational bound of each example in nats per dimension, which trains the schedule too.

    ``weighting`` is not used: the bound has weights of its own.
    """

    times: TimeSampler
    weighting: Weighting | None = None
    learns_schedule = True

    draw, complete = Denoising.draw, Denoising.complete

    def loss(self, model, params, batch):
        schedule = dataclasses.replace(model.schedule, **params["schedule"])
        diffusion = _with_variance_gradient(
            lambda params, schedule, batch: _diffusion(dataclasses.replace(model, schedule=schedule), params, batch)
        )
        value, aux = diffusion(params, schedule, batch)
        ends = likelihood.boundary_terms(schedule, batch["x"], batch["eps"], bins=model.bins)
        return value + sum(ends) / math.prod(model.shape), aux


OBJECTIVES = {"denoising": Denoising, "frame_levels": FrameLevels, "bound": Bound}
"""The objectives by the names of ``config.loss.objective``; each is made of times and a weighting. A flow map has its
own, :class:`experiments.tasks.flow_maps.model.FlowMapObjective`."""


def _diffusion(model: Any, params: PyTree, batch: Mapping[str, Any]):
    """The bound between its ends, which is the squared error of eps with the weight -1/2 dlog_snr/dt."""
    weight = -0.5 * batch["weight"] * time_derivative(model.schedule.log_snr, batch["t"])
    return _squared_error(losses.denoising_loss_at, weightings.eps, model, params, {**batch, "weight": weight})


@pytree_dataclass
class _ScheduleOfEachExample:
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


def _with_variance_gradient(diffusion):
    """``(params, schedule, batch) -> (diffusion loss (B,), aux)``; between its ends the schedule is trained for a small
    variance of the loss.

    In the gradient with respect to the parameters and the ends of the schedule this is ``diffusion``. With respect to
    the interior, between the ends, it is the gradient of the squared losses, ``2 L_i dL_i`` for each example, which is
    the gradient of their variance: their mean does not depend on the interior. One backward pass gives both, as it
    gives the gradient with respect to the schedule of each example. ``diffusion`` has the same signature; the batch
    gets no gradient.
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
        squared = {name: jax.vmap(jnp.multiply)(2.0 * value, getattr(each, name)) for name in ("heights", "slopes")}
        return for_params, _ScheduleOfEachExample(each=dataclasses.replace(each, **squared)), None

    of_examples.defvjp(forward, backward)

    def loss(params, schedule, batch):
        repeat = lambda leaf: jnp.broadcast_to(leaf, (*batch["t"].shape, *jnp.shape(leaf)))
        return of_examples(params, _ScheduleOfEachExample(each=jax.tree.map(repeat, schedule)), batch)

    return loss


class Coupling(NamedTuple):
    """Which noise goes with which example.

    Attributes:
      noise: ``(schedule, x, eps, t, conditions) -> eps``, the noise of each example.
      starts_at_map: whether sampling starts at the dense map in place of noise.
    """

    noise: Callable[[Schedule, Array, Array, Array, Mapping[str, Any]], Array]
    starts_at_map: bool = False


def _transport(block_size: int, of_classes: bool, schedule, x, eps, t, given):
    del schedule, t
    labels = given["labels"] if of_classes else None
    return couplings.pair(x, eps, optimal_assignment, labels, block_size=block_size)


def _bridge(schedule, x, eps, t, given):
    return interpolants.bridge_noise(schedule, x, given["dense_map"].value, eps, t)


def _optimal_transport(label_dropout, block_size: Annotated[int, Count(1, 4096)] = 128) -> Coupling:
    """The optimal transport of each minibatch, within each class unless loss.label_dropout is 1.

    Args:
      block_size: examples that are paired with each other; the time grows like its cube.
    """
    return Coupling(functools.partial(_transport, block_size, label_dropout < 1))


TRANSPORT = "optimal_transport"
COUPLINGS = Choices(
    {
        "bridge": Choice(
            lambda: Coupling(_bridge, starts_at_map=True),
            "A diffusion bridge (I2SB) from the dense map, which is shaped like the example, in place of noise.",
        ),
        "independent": Choice(lambda: None, "Independent noise."),
        TRANSPORT: _optimal_transport,
    },
    "independent",
    """Which noise goes with which example: independent; the optimal transport of the batch, for straighter paths; or
    what leads to its dense map, where sampling starts then.""",
    ("label_dropout",),
)

"""The losses of flow maps by names in a config: the times of a batch, and the loss of each example at them.

Args:
  bandwidths: of the kernels, in units of the mean distance between samples and data.
  base: divisor of the distance of the two points on a path, applied after every stage.
  channels: channels of the first layer of each discriminator.
  depth: halvings of each discriminator.
  diagonal: the fraction of the batch with s = t, which is flow matching.
  form: the losses: "softplus" (non-saturating) or "hinge".
  levels: number of levels of step sizes.
  kernel: "gaussian" or "laplace".
  normalise: offset of the norm of the tangent.
  offset: offset of the adaptive weight, added to the loss.
  penalty: of the squared gradient of the logits of data with respect to the data (R1); 0 for none.
  power: power of the adaptive weight; 0 is none.
  rate: the learning rate of the discriminators over the learning rate of the generator.
  scale: scale of the pseudo-Huber distance.
  stages: number of stages of equal length; the first compares low noise with clean data.
  warmup: fraction of the training in which the tangent grows to its full size.
  windows: positions along each axis that each discriminator sees; multiples of the first.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from experiments.cli.choices import Choice
from experiments.cli.fields import POSITIVE
from experiments.models.devices import over_all_rows
from scorekit import flow_maps, networks
from scorekit.arguments import Count, Each
from scorekit.times import TimeSampler, draw
from scorekit.trees import expand
from scorekit.typing import Array, FlowMap, Key, Prediction, Schedule


class FlowMapLoss(NamedTuple):
    """The parts of flow-map training other than the model.

    Attributes:
      draw: ``(key, n, sampler, schedule) -> times`` by name, ``(n,)`` each.
      loss: ``(flow_map, schedule, x0, eps, times, progress, velocity=None, teacher=None) -> (n,)``. ``velocity`` is the
        denoiser at the noised examples (by default the ``x0`` and ``eps`` of each example), ``teacher`` a denoiser at
        any state (by default the map itself at s = t).
      ends_only: whether all jumps end at t = 0.
      guided: whether ``velocity`` may be the velocity of a guided ODE, or the loss takes γ itself.
      of_batch: whether the loss compares the examples with each other: it takes ``weights`` of
        :func:`scorekit.flow_maps.drift_weights` as well.
      critic: makes the discriminators for the conditions of a model; the loss takes ``critic``, a function
        ``(x, fixed=False) -> logits``, where ``fixed`` stops the gradient to the parameters.
      critic_rate: the learning rate of the discriminators over the learning rate of the network.
    """

    draw: Callable[[Key, int, TimeSampler, Schedule], dict[str, Array]]
    loss: Callable[..., Array]
    ends_only: bool = False
    guided: bool = True
    of_batch: bool = False
    critic: Callable[..., networks.RandomWindowDiscriminator] | None = None
    critic_rate: float = 1.0


def _two_times(diagonal, key, n, sampler, schedule):
    return flow_maps.two_times(key, sampler, schedule, n, diagonal)._asdict()


def _progressive_times(diagonal, key, n, sampler, schedule):
    jumps = flow_maps.two_times(key, sampler, schedule, n, diagonal)
    return {**jumps._asdict(), "middle": flow_maps.middle_time(schedule, jumps.t, jumps.s)}


def _shortcut_times(diagonal, num_levels, key, n, sampler, schedule):
    for_matching, for_steps = jax.random.split(key)
    one = draw(for_matching, sampler, schedule, n)
    steps = flow_maps.shortcut_steps(for_steps, schedule, n, num_levels)._asdict()
    same = jnp.arange(n) < round(diagonal * n)
    times = {name: jnp.where(same, one.t, value) for name, value in steps.items()}
    return {**times, "weight": jnp.where(same, one.weight, 1.0)}


def _one_time(key, n, sampler, schedule):
    times = draw(key, sampler, schedule, n)
    return {"t": times.t, "s": jnp.zeros_like(times.t), "weight": times.weight}


def _pure_noise(key, n, sampler, schedule):
    del key, sampler, schedule
    return {"t": jnp.ones(n), "s": jnp.zeros(n), "weight": jnp.ones(n)}


def _mixed(mask, one, other, *state) -> Prediction:
    """The prediction of ``one`` for the examples of the mask, of ``other`` for the rest."""
    choose = lambda a, b: jnp.where(expand(mask, a), a, b)
    return jax.tree.map(choose, one(*state), other(*state))


def _mean_flow(improved, flow_map: FlowMap, schedule, x0, eps, times, velocity=None, teacher=None):
    further = {"velocity": teacher or velocity, "tangent": flow_map if improved else None}
    return flow_maps.eulerian_loss(flow_map, schedule, x0, eps, times["t"], times["s"], **further)


def _itself(residual, flow_map: FlowMap, schedule, x0, eps, times, velocity=None, teacher=None):
    """A residual with the velocity of the map itself, or of a teacher; where s = t it is flow matching."""
    t, s = times["t"], times["s"]
    if teacher is None:
        teacher = partial(_mixed, s != t, flow_map, velocity or (lambda x, t: Prediction(x0, eps)))
    return residual(flow_map, schedule, x0, eps, t, s, velocity=teacher)


def _shortcut(shortest, flow_map: FlowMap, schedule, x0, eps, times, velocity=None, teacher=None):
    """Where s = t it is flow matching; jumps up to the shortest follow the velocity of the teacher, or of the map."""
    t, middle, s = (times[name] for name in ("t", "middle", "s"))
    matching = velocity or teacher or (lambda x, t: Prediction(x0, eps))

    jumps = flow_map
    if teacher is not None:
        jumps = partial(_mixed, s != t, flow_map, lambda x, t, s, one=teacher: one(x, t))
    mixed = partial(_mixed, s != t, jumps, lambda x, t, s: matching(x, t))
    return flow_maps.semigroup_loss(flow_map, schedule, x0, eps, t, middle, s, teacher=mixed, shortest=shortest)


def _adaptive(power, offset, residual, flow_map, schedule, x0, eps, times, progress, **source):
    del progress
    return flow_maps.adaptive_weighted(residual(flow_map, schedule, x0, eps, times, **source), power, offset)


def _self_distilled(words: str, residual: Callable, power: float, draw_times: Callable = _two_times) -> Choice:
    """A loss of two times with flow matching in a part of the batch, and an adaptive weight of this power."""

    def make(diagonal=0.75, power=power, offset=0.01) -> FlowMapLoss:
        weighted = partial(_adaptive, power, offset, residual)
        return FlowMapLoss(partial(draw_times, diagonal), weighted)

    return Choice(make, words)


_words = "Eulerian self-distillation, and flow matching."
eulerian = _self_distilled(_words, partial(_itself, flow_maps.eulerian_loss), 0.5)
_words = "Improved MeanFlow: the tangent is the map's own velocity."
improved_mean_flow = _self_distilled(_words, partial(_mean_flow, True), 1.0)
_words = "Lagrangian self-distillation, and flow matching."
lagrangian = _self_distilled(_words, partial(_itself, flow_maps.lagrangian_loss), 0.0)
_words = "MeanFlow: the tangent is the velocity of the noised example."
mean_flow = _self_distilled(_words, partial(_mean_flow, False), 1.0)
_words = "Progressive self-distillation: any jump is two, to the middle and on."
progressive = _self_distilled(_words, partial(_shortcut, 0.0), 0.0, _progressive_times)


def shortcut(diagonal=0.75, levels: int = 7, power=0.0, offset=0.01) -> FlowMapLoss:
    """Shortcut models: one jump is two of half the length."""
    weighted = partial(_adaptive, power, offset, partial(_shortcut, 2.0**-levels))
    return FlowMapLoss(partial(_shortcut_times, diagonal, levels), weighted)


def stable_consistency(normalise=0.1, warmup=0.1) -> FlowMapLoss:
    """Continuous-time consistency (sCM): jumps to t = 0."""

    def loss(flow_map, schedule, x0, eps, times, progress, velocity=None, teacher=None):
        grown = jnp.clip(progress / warmup, 0.0, 1.0)
        further = {"velocity": teacher or velocity, "coordinate": "angle", "normalise": normalise, "warmup": grown}
        return flow_maps.eulerian_loss(flow_map, schedule, x0, eps, times["t"], times["s"], **further)

    return FlowMapLoss(_one_time, loss, ends_only=True)


def consistency_tuning(base=2.0, stages: int = 8, scale=0.03) -> FlowMapLoss:
    """Consistency tuning (ECT): jumps to t = 0, from the weights of a denoiser that ``init_from`` names."""
    distance = partial(flow_maps.pseudo_huber, scale=scale)

    def loss(flow_map, schedule, x0, eps, times, progress):
        """The two points of a path approach each other by stages."""
        t, stage = times["t"], jnp.clip(jnp.ceil(stages * progress), 1, stages)
        s = flow_maps.tuning_time(schedule, t, stage, base=base)
        further = {"weight": jnp.where(s < t, flow_maps.step_weight(schedule, t, s, "sigma"), 0.0)}
        jump = lambda x_t, t: flow_map(x_t, t, jnp.zeros_like(t))
        return flow_maps.consistency_training_loss(jump, jump, schedule, x0, eps, t, s, distance=distance, **further)

    return FlowMapLoss(_one_time, loss, ends_only=True, guided=False)


def drifting(
    bandwidths: Annotated[tuple[float, ...], Each(POSITIVE, least=1)] = (0.05, 0.2),
    kernel: flow_maps.DriftKernel = "laplace",
) -> FlowMapLoss:
    """Drifting: one jump from pure noise, whose samples move towards data of their class; γ is reached in training."""
    drift = lambda x, y, w: flow_maps.drifting_loss(x, y, weights=w, bandwidths=bandwidths, kernel=kernel)

    def loss(flow_map, schedule, x0, eps, times, progress, weights):
        samples = flow_map(schedule.sigma(1.0) * eps, times["t"], times["s"]).x0
        return over_all_rows(drift, samples, x0, weights)

    return FlowMapLoss(_pure_noise, loss, ends_only=True, of_batch=True)


def adversarial(
    windows: Annotated[tuple[int, ...], Each(Count(1), least=1)] = (256, 512, 1024),
    channels: int = 32,
    depth: int = 3,
    form: flow_maps.AdversarialForm = "softplus",
    penalty=1.0,
    rate=1.0,
) -> FlowMapLoss:
    """A generator of one jump from pure noise, against discriminators of random windows (GAN-TTS)."""
    make_critic = partial(networks.RandomWindowDiscriminator, windows, channels, depth=depth)

    def loss(flow_map, schedule, x0, eps, times, progress, critic):
        """The samples against the discriminators, and the discriminators against the samples."""
        samples = flow_map(schedule.sigma(1.0) * eps, times["t"], times["s"]).x0
        learned = flow_maps.discriminator_loss(critic(x0), critic(jax.lax.stop_gradient(samples)), form)
        if penalty:
            learned += penalty * flow_maps.gradient_penalty(critic, x0)
        return flow_maps.adversarial_loss(critic(samples, fixed=True), form) + learned

    return FlowMapLoss(_pure_noise, loss, ends_only=True, guided=False, critic=make_critic, critic_rate=rate)

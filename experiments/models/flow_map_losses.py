"""The losses of flow maps by names in a config: the times of a batch, and the loss of each example at them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.cli.declared import documented
from experiments.cli.ranges import above, at_least, between, count, or_none
from scorekit import flow_maps
from scorekit.times import TimeSampler, draw
from scorekit.typing import Array, FlowMap, Key, Schedule


class FlowMapLoss(NamedTuple):
    """What training a flow map needs beside the model.

    Attributes:
      draw: ``(key, n, sampler, schedule) -> times`` by name, ``(n,)`` each.
      loss: ``(flow_map, schedule, x0, eps, times, progress) -> (n,)``.
      ends_only: whether the only jumps are those to t = 0.
    """

    draw: Callable[[Key, int, TimeSampler, Schedule], dict[str, Array]]
    loss: Callable[..., Array]
    ends_only: bool = False


def _two_times(diagonal, key, n, sampler, schedule):
    return flow_maps.two_times(key, n, sampler, schedule, diagonal)._asdict()


def _mean_flow(improved, power, offset, flow_map: FlowMap, schedule, x0, eps, times, progress):
    del progress
    tangent = flow_map if improved else None
    found = flow_maps.eulerian_loss(flow_map, schedule, x0, eps, times["t"], times["s"], tangent=tangent)
    return flow_maps.adaptive_weighted(found, power, offset)


def _eulerian(improved: bool, diagonal: float, power: float, offset: float) -> FlowMapLoss:
    return FlowMapLoss(functools.partial(_two_times, diagonal), functools.partial(_mean_flow, improved, power, offset))


def _with_flow_matching(residual: Callable[..., Array], flow_map: FlowMap, schedule, x0, eps, times, progress):
    """Flow matching where s = t, the residual elsewhere."""
    del progress
    t = times["t"]
    matching = flow_maps.eulerian_loss(flow_map, schedule, x0, eps, t, t)
    return jnp.where(times["s"] < t, residual(flow_map, schedule, x0, eps, **times), matching)


def _lagrangian(flow_map, schedule, x0, eps, t, s, weight):
    del weight
    return flow_maps.lagrangian_loss(flow_map, schedule, x0, eps, t, s)


def _shortcut(shortest, flow_map, schedule, x0, eps, t, middle, s, weight):
    del weight
    return flow_maps.semigroup_loss(flow_map, schedule, x0, eps, t, middle, s, shortest=shortest)


def _shortcut_times(diagonal, levels, key, n, sampler, schedule):
    for_matching, for_steps = jax.random.split(key)
    one = draw(for_matching, n, sampler, schedule)
    steps = flow_maps.shortcut_steps(for_steps, n, schedule, levels)._asdict()
    same = jnp.arange(n) < round(diagonal * n)
    times = {name: jnp.where(same, one.t, value) for name, value in steps.items()}
    return {**times, "weight": jnp.where(same, one.weight, 1.0)}


def _one_time(key, n, sampler, schedule):
    times = draw(key, n, sampler, schedule)
    return {"t": times.t, "s": jnp.zeros_like(times.t), "weight": times.weight}


def _stable(normalise, warmup, flow_map, schedule, x0, eps, times, progress):
    return flow_maps.eulerian_loss(
        flow_map, schedule, x0, eps, times["t"], times["s"],
        coordinate="angle", normalise=normalise, warmup=jnp.clip(progress / warmup, 0.0, 1.0),
    )  # fmt: skip


def _tuning(base, stages, scale, flow_map: FlowMap, schedule, x0, eps, times, progress):
    """Consistency training of the jumps to t = 0, whose two points approach each other by stages."""
    t = times["t"]
    s = flow_maps.tuning_time(t, jnp.clip(jnp.ceil(stages * progress), 1, stages), schedule, base=base)
    weight = jnp.where(s < t, flow_maps.step_weight(t, s, schedule, "sigma"), 0.0)
    jump = lambda x_t, t: flow_map(x_t, t, jnp.zeros_like(t))
    distance = functools.partial(flow_maps.pseudo_huber, scale=scale)
    return flow_maps.consistency_training_loss(jump, jump, schedule, x0, eps, t, s, distance=distance, weight=weight)


_DIAGONAL = "\n  diagonal: the share of the batch with s = t, which is flow matching."
_ADAPTIVE = "\n  power: of the adaptive weight; 0 is none.\n  offset: of the adaptive weight, added to the loss."

LOSSES: Mapping[str, Callable[..., FlowMapLoss | None]] = {
    "consistency_tuning": documented(
        "Consistency tuning (ECT): jumps to t = 0, from the weights of a denoiser that ``init_from`` names.\n\nArgs:"
        "\n  base: the distance of the two points on a path is divided by it after every stage."
        "\n  stages: of equal length; the first compares low noise with clean data."
        "\n  scale: of the pseudo-Huber distance.",
        lambda base=2.0, stages=8, scale=0.03: FlowMapLoss(
            _one_time, functools.partial(_tuning, base, int(stages), scale), True
        ),
    ),
    "none": documented("A denoiser is trained.", lambda: None),
    "improved_mean_flow": documented(
        f"Improved MeanFlow: the tangent is the map's own velocity.\n\nArgs:{_DIAGONAL}{_ADAPTIVE}",
        lambda diagonal=0.75, power=1.0, offset=0.01: _eulerian(True, diagonal, power, offset),
    ),
    "lagrangian": documented(
        f"Lagrangian self-distillation, and flow matching.\n\nArgs:{_DIAGONAL}",
        lambda diagonal=0.75: FlowMapLoss(
            functools.partial(_two_times, diagonal), functools.partial(_with_flow_matching, _lagrangian)
        ),
    ),
    "mean_flow": documented(
        f"MeanFlow: the tangent is the velocity of the noised example.\n\nArgs:{_DIAGONAL}{_ADAPTIVE}",
        lambda diagonal=0.75, power=1.0, offset=0.01: _eulerian(False, diagonal, power, offset),
    ),
    "shortcut": documented(
        f"Shortcut models: one jump is two of half the length.\n\nArgs:{_DIAGONAL}\n  levels: of step sizes.",
        lambda diagonal=0.75, levels=7: FlowMapLoss(
            functools.partial(_shortcut_times, diagonal, int(levels)),
            functools.partial(_with_flow_matching, functools.partial(_shortcut, 2.0 ** -int(levels))),
        ),
    ),
    "stable_consistency": documented(
        "Continuous-time consistency (sCM): jumps to t = 0.\n\nArgs:\n  normalise: offset of the norm of the tangent."
        "\n  warmup: share of the training in which the tangent grows to its full size.",
        lambda normalise=0.1, warmup=0.1: FlowMapLoss(_one_time, functools.partial(_stable, normalise, warmup), True),
    ),
}
"""The losses by name."""

RANGES: Mapping[str, Any] = or_none(
    base=above(1), diagonal=between(0, 1), levels=count(1, 20), normalise=above(0), offset=above(0), power=at_least(0),
    scale=above(0), stages=count(1, 20),
    warmup=between(0, 1, open_low=True),
)  # fmt: skip

"""Pairs and triples of training times, and the velocity of a guided flow map."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import Finite, Fraction, FractionBelowOne, PositiveInt, checked
from scorekit.checks import check_floating, check_like, check_per_example, check_time
from scorekit.flow_maps._checks import check_order
from scorekit.flow_maps.maps import clock
from scorekit.flow_maps.progressive import Steps
from scorekit.numerics.coordinates import log_snr_at
from scorekit.times import TimeSampler, draw, stratified_uniform
from scorekit.trees import as_pytree, combine
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Number, Prediction, Schedule


class Jumps(NamedTuple):
    """Jumps from t to s, one per example.

    Attributes:
      t: times of the start, ``(B,)``.
      s: times of the end, ``(B,)``, ``s <= t``.
      weight: importance weights, ``(B,)``.

    >>> Jumps(t=jnp.ones(2), s=jnp.zeros(2), weight=jnp.ones(2)).t.shape
    (2,)
    """

    t: Array
    s: Array
    weight: Array


@checked
def two_times(
    key: Key, sampler: TimeSampler, schedule: Schedule, n: PositiveInt, diagonal: Fraction[Number] = 0.75
) -> Jumps:
    """Draws two times of a sampler for each example, in decreasing order; in a part of the batch, s = t.

    ``t = max(a, b)`` and ``s = min(a, b)`` of two independent draws a and b; ``t = s = a`` in that part.

    Args:
      key: PRNG key.
      sampler: sampler of each time, from :mod:`scorekit.times`. MeanFlow uses ``LogitNormal(mean=-0.4, std=1.0)`` on
        the schedule ``RectifiedFlow``.
      schedule: the noise schedule in which the sampler draws.
      n: number of draws, normally the batch size.
      diagonal: the fraction with s = t: the first examples of the batch, ``round(diagonal n)`` of them.

    Returns:
      :class:`Jumps`; the weights are the products of the weights of both times.

    >>> from scorekit import schedules, times
    >>> jumps = two_times(jax.random.key(0), times.LogitNormal(mean=-0.4), schedules.RectifiedFlow(), 4)
    >>> (jumps.s < jumps.t).tolist()
    [False, False, False, True]

    Source: Geng et al. 2025, "Mean flows" (https://arxiv.org/abs/2505.13447).
    """
    one, two = (draw(k, sampler, schedule, n) for k in jax.random.split(key))
    t, s = jnp.maximum(one.t, two.t), jnp.minimum(one.t, two.t)
    same = jnp.arange(n) < jnp.round(diagonal * n)
    return Jumps(jnp.where(same, one.t, t), jnp.where(same, one.t, s), one.weight * jnp.where(same, 1.0, two.weight))


@checked
def middle_time(schedule: Schedule, t: ArrayLike, s: ArrayLike, fraction: Fraction[Number] = 0.5) -> Array:
    """The time m at a fraction of a jump: ``clock(m) = (1 - fraction) clock(t) + fraction clock(s)``.

    Unless ``s <= t`` it is an error, and NaN if traced.

    Args:
      schedule: the noise schedule, which gives the clock.
      t: times ``(B,)``, or one time.
      s: the ends of the jumps, shaped like t, ``s <= t``.
      fraction: part of the jump, a scalar or shaped like t; uniform draws give the progressive loss with random
        middle times.

    >>> from scorekit.schedules import RectifiedFlow
    >>> middle_time(RectifiedFlow(), 1.0, 0.5).round(4)
    Array(0.75, dtype=float32)

    Source: Boffi et al. 2025, "How to build a consistency model" (https://arxiv.org/abs/2505.18825).
    """
    check_time(t=t, s=s)
    check_like("t", t, s=s)
    check_order(t, s)
    if jnp.ndim(fraction):
        check_like("t", t, fraction=fraction)
    t, s, part = jnp.asarray(t), jnp.asarray(s), jnp.asarray(fraction)
    return _between(t, s, schedule, (1.0 - part) * clock(schedule, t) + part * clock(schedule, s))


def _between(t, s, schedule, tau):
    """The time of a clock between the clocks of s and t; exact at both, NaN where ``s > t``."""
    inside = (tau < clock(schedule, t)) & (tau > clock(schedule, s))
    m = schedule.time_at(log_snr_at("flow", jnp.where(inside, tau, 0.5)))
    m = jnp.where(inside, jnp.clip(m, s, t), jnp.where(tau <= clock(schedule, s), s, t))
    return jnp.where(jnp.isnan(tau) | (s > t), jnp.nan, m)


@checked
def shortcut_steps(
    key: Key,
    schedule: Schedule,
    n: PositiveInt,
    num_levels: PositiveInt = 7,
    t_max: ArrayLike = 1.0,
    t_min: ArrayLike = 0.0,
) -> Steps:
    """Draws jumps of length ``2^-k`` of the path, k = 0 ... ``num_levels - 1``, on the grids of such steps.

    Lengths are measured on the clock ``sigma / (alpha + sigma)`` between ``t_min`` and ``t_max``; the middle halves a
    jump. :func:`semigroup_loss` with ``shortest`` of ``2^-num_levels``, for a path from near 1 to near 0 on the clock,
    uses the velocity for the halves of the shortest. ``t_min > t_max`` is an error, and NaN if traced.

    Args:
      key: PRNG key.
      schedule: the noise schedule, which gives the clock.
      n: number of draws, normally the batch size.
      num_levels: number of lengths, over which the draws are stratified; shortcut models have 7, for at most 128 steps.
      t_max: the start of the path.
      t_min: the end of the path.

    >>> from scorekit.schedules import RectifiedFlow
    >>> steps = shortcut_steps(jax.random.key(0), RectifiedFlow(), 2, num_levels=1)
    >>> steps.t, steps.middle, steps.s
    (Array([1., 1.], dtype=float32), Array([0.5, 0.5], dtype=float32), Array([0., 0.], dtype=float32))

    Source: Frans et al. 2024 (https://arxiv.org/abs/2410.12557).
    """
    check_time(t_max=t_max, t_min=t_min)
    check_order(t_max, t_min, above="t_max", name="t_min")
    for_level, for_place = jax.random.split(key)
    count = 2.0 ** jnp.floor(num_levels * stratified_uniform(for_level, n))
    place = jnp.floor(count * jax.random.uniform(for_place, (n,)))
    first, last = clock(schedule, t_max), clock(schedule, t_min)
    at = lambda part: _between(
        jnp.asarray(t_max), jnp.asarray(t_min), schedule, first + (last - first) * jnp.clip(part / count, 0.0, 1.0)
    )
    return Steps(at(place), at(place + 0.5), at(place + 1.0))


def _guided(example, cond, uncond, guidance_scale, mix, x_t, t):
    c, u = cond(x_t, t), uncond(x_t, t)
    check_like("example", example, cond=c, uncond=u)
    part = lambda e, c, u: combine((guidance_scale, e), (mix, c), (1.0 - guidance_scale - mix, u))
    return Prediction(part(example.x0, c.x0, u.x0), part(example.eps, c.eps, u.eps))


@checked
def guided_velocity(
    example: Prediction,
    cond: Denoiser,
    uncond: Denoiser,
    guidance_scale: Finite[Number],
    mix: FractionBelowOne[Number] = 0.0,
) -> Denoiser:
    """``w v + k v_c + (1 - w - k) v_u``: the velocity of a guided ODE without a teacher, from an example and the map.

    A map that is trained on it needs one evaluation where classifier-free guidance needs two. Where ``cond`` is the
    trained map itself, the guidance scale of the result is ``w / (1 - k)``; ``w = 1, k = 0`` is the velocity without
    guidance, for examples whose conditions are dropped. The scale may be drawn per example and given to the network as
    a condition.

    Args:
      example: data and noise ``(x0, eps)``, whose velocity is v.
      cond: a flow map or denoiser with the conditions of the example; v_c is its velocity at s = t.
      uncond: the same without conditions, of velocity v_u.
      guidance_scale: w, scalar or ``(B,)``.
      mix: k, scalar or ``(B,)``.

    Returns:
      A denoiser for ``velocity`` of :func:`eulerian_loss`, at the state of the example.

    >>> cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, c + 0 * x) for c in (1.0, 0.0))
    >>> x = jnp.ones((1, 1))
    >>> guided_velocity(Prediction(2 * x, x), cond, uncond, 2.0, 0.5)(x, 0.5).x0
    Array([[4.5]], dtype=float32)

    Source: Geng et al. 2025, "Mean flows" (https://arxiv.org/abs/2505.13447).
    """
    check_floating(example=example)
    check_per_example(example, guidance_scale=guidance_scale, mix=mix)
    return Partial(_guided, example, as_pytree(cond), as_pytree(uncond), guidance_scale, mix)

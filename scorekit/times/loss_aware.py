"""Times drawn by their loss: importance sampling that learns where the loss is large.

>>> sampler: Adaptive = adaptive(num_bins=2, decay=0.0)
>>> sampler = update_adaptive(sampler, jnp.array([0.2, 0.8]), jnp.array([3.0, 1.0]))
>>> sampler.second_moment, sampler.probabilities().round(3)
(Array([9., 1.], dtype=float32), Array([0.725, 0.275], dtype=float32))

Source: Nichol & Dhariwal 2021 (https://arxiv.org/abs/2102.09672).
"""

import dataclasses

import jax
import jax.numpy as jnp

from scorekit.arguments import FractionBelowOne, PositiveFraction, PositiveInt, checked
from scorekit.checks import check_like, check_time
from scorekit.numerics import wide
from scorekit.times._ranges import check_range
from scorekit.times.samplers import Times, TimeSampler
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Number


@pytree_dataclass
class Adaptive(TimeSampler):
    """Bins of t drawn by the root-mean-square of their loss; build it with :func:`adaptive`.

    Attributes:
      second_moment: running mean of loss^2 in K equal bins of ``[t_min, t_max]``, ``(K,)``.
      decay: decay of the running second moment at an update, < 1.
      floor: fraction of uniform draws, > 0.
      t_min: the smallest time.
      t_max: the largest time, above ``t_min``.
      stratified: one draw per stratum instead of independent draws.
    """

    second_moment: ArrayLike
    decay: Number = 0.99
    floor: Number = 0.1
    t_min: Number = 1e-4
    t_max: Number = 1.0
    stratified: bool = static(default=True)

    def probabilities(self) -> Array:
        """``(1 - floor) r_k / sum_j r_j + floor / K``, ``(K,)``, with r the root of the second moment."""
        moment = jnp.asarray(self.second_moment)
        root = jnp.sqrt(jnp.maximum(moment, jnp.finfo(moment.dtype).tiny))  # all of them may be 0
        return (1.0 - self.floor) * root / jnp.sum(root) + self.floor / root.shape[0]

    def quantile(self, u, schedule):
        del schedule
        p = self.probabilities()
        ends = jnp.cumsum(p)
        k = jnp.minimum(jnp.searchsorted(ends, u, side="right"), p.shape[0] - 1)
        within = jnp.clip((u - (ends[k] - p[k])) / p[k], 0.0, 1.0)
        t = self.t_min + (self.t_max - self.t_min) * (k + within) / p.shape[0]
        return Times(t, 1.0 / (p[k] * p.shape[0]))


@checked
def adaptive(
    num_bins: PositiveInt = 20,
    *,
    decay: FractionBelowOne[Number] = 0.99,
    floor: PositiveFraction[Number] = 0.1,
    t_min: FractionBelowOne[Number] = 1e-4,
    t_max: PositiveFraction[Number] = 1.0,
    stratified: bool = True,
) -> Adaptive:
    """Loss-aware importance sampling: bins of t are drawn in proportion to the root-mean-square of their loss.

    The initial distribution is uniform; :func:`update_adaptive` adds the losses of a step. The objective is unchanged.

    ``p_k = (1 - floor) r_k / sum_j r_j + floor / K`` with ``r_k^2`` the running mean of loss^2 in bin k, and weights
    ``1 / (K p_k)``.

    Args:
      num_bins: number K of equal bins of ``[t_min, t_max]``.
      decay: decay of the running second moment at an update, < 1; 0 keeps the last loss alone.
      floor: fraction of uniform draws, > 0; it bounds the weights by ``1 / floor``.
      t_min: the smallest time.
      t_max: the largest time, above ``t_min``.
      stratified: one draw per stratum instead of independent draws.
    """
    check_range(t_min, t_max)
    return Adaptive(
        second_moment=jnp.ones(num_bins),
        decay=decay,
        floor=floor,
        t_min=t_min,
        t_max=t_max,
        stratified=stratified,
    )


def update_adaptive(sampler: Adaptive, t: Array, loss: Array) -> Adaptive:
    """Updates an :func:`adaptive` sampler with the losses of one step; bins without a draw are unchanged.

    ``m_k <- decay m_k + (1 - decay) mean(loss^2)`` over the draws in bin k. A loss is ignored if it, its square or its
    time is not finite.

    Args:
      sampler: the sampler that drew ``t``.
      t: times ``(B,)``.
      loss: per-example losses ``(B,)`` *without* the importance weight.
    """
    check_time(t=t)
    check_like("t", t, loss=loss)
    t, loss = wide(t), wide(loss)
    if t.ndim != 1:
        raise ValueError(f"t and loss must have shape (B,), got {t.shape}")
    moment = jnp.asarray(sampler.second_moment)
    bins = moment.shape[0]
    k = jnp.floor((t - sampler.t_min) / (sampler.t_max - sampler.t_min) * bins).astype(jnp.int32)
    k = jnp.clip(k, 0, bins - 1)
    squared = jnp.square(loss)
    counts = jnp.isfinite(squared) & jnp.isfinite(t)
    count = jax.ops.segment_sum(counts.astype(squared.dtype), k, bins)
    mean = jax.ops.segment_sum(jnp.where(counts, squared, 0.0), k, bins) / jnp.maximum(count, 1.0)
    mixed = sampler.decay * moment + (1.0 - sampler.decay) * mean
    return dataclasses.replace(sampler, second_moment=jnp.where(count > 0, mixed, moment))

"""Continuous samplers of training times, and stratified drawing."""

import dataclasses
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from scorekit.checks import check, check_count, check_like, check_positive, check_time
from scorekit.schedules import time_derivative
from scorekit.schedules._numerics import as_time
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key, Number, Schedule

__all__ = [
    "Adaptive",
    "LogNormalSigma",
    "LogitNormal",
    "TimeSampler",
    "Times",
    "Uniform",
    "UniformLogSNR",
    "adaptive",
    "draw",
    "log_normal_sigma",
    "logit_normal",
    "stratified_uniform",
    "uniform",
    "uniform_log_snr",
    "update_adaptive",
]


class Times(NamedTuple):
    """Times and their importance weights.

    Attributes:
      t: the times, ``(B,)``, in [0, 1].
      weight: the factor of the loss of each, ``(B,)``.

    >>> times = Times(t=jnp.array([0.25, 0.75]), weight=jnp.ones(2))
    >>> float(jnp.mean(times.weight * times.t))
    0.5
    """

    t: Array
    weight: Array


class TimeSampler(Protocol):
    """A distribution of training times."""

    @property
    def stratified(self) -> bool:
        """One draw per stratum instead of independent draws."""
        ...

    def quantile(self, u: Array, schedule: Schedule) -> Times:
        """The times at the quantiles ``u`` (B,) in [0, 1), elementwise."""
        ...


def stratified_uniform(key: Key, n: int) -> Array:
    """``(arange(n) + u) / n`` with one uniform u per stratum, in random order: ``(n,)`` in [0, 1).

    Args:
      key: PRNG key.
      n: number of draws, at least 1.

    Returns:
      ``(n,)``, each uniform in [0, 1).

    Raises:
      ValueError: if ``n`` is not an integer >= 1.

    >>> import numpy as np
    >>> np.sort(np.asarray(stratified_uniform(jax.random.key(0), 4)) * 4).astype(int)
    array([0, 1, 2, 3])

    Source: Kingma et al. 2021, app. I.1 (https://arxiv.org/abs/2107.00630), with an independent u per stratum.
    """
    check_count(n=n)
    for_offsets, for_order = jax.random.split(key)
    u = (jnp.arange(n) + jax.random.uniform(for_offsets, (n,))) / n
    return jax.random.permutation(for_order, jnp.minimum(u, 1.0 - jnp.finfo(u.dtype).epsneg))


def draw(key: Key, n: int, sampler: TimeSampler, schedule: Schedule) -> Times:
    """Draws ``n`` training times.

    Args:
      key: PRNG key.
      n: number of times, normally the global batch size; at least 1.
      sampler: a sampler of this package, or any :class:`TimeSampler`.
      schedule: the noise schedule.

    Returns:
      The times and their weights, ``(n,)`` each.

    Raises:
      ValueError: if ``n`` is not an integer >= 1.

    >>> from scorekit.schedules import cosine
    >>> draw(jax.random.key(0), 8, uniform(), cosine()).t.shape
    (8,)
    """
    check_count(n=n)
    u = stratified_uniform(key, n) if sampler.stratified else jax.random.uniform(key, (n,))
    return sampler.quantile(u, schedule)


@pytree_dataclass
class Uniform(TimeSampler):
    """``t = t_min + (t_max - t_min) u``; build it with :func:`uniform`.

    Attributes:
      t_min: smallest time.
      t_max: largest time.
      stratified: whether the draws are stratified.

    >>> Uniform(t_min=0.0).quantile(jnp.array([0.5]), None).t
    Array([0.5], dtype=float32)
    """

    t_min: Number = 1e-4
    t_max: Number = 1.0
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        del schedule
        return Times(self.t_min + (self.t_max - self.t_min) * u, jnp.ones_like(u))


@pytree_dataclass
class LogNormalSigma(TimeSampler):
    """``log(sigma / alpha) = mean + std z`` with z normal; build it with :func:`log_normal_sigma`.

    Attributes:
      mean: mean of ``log(sigma / alpha)``.
      std: its standard deviation.
      stratified: whether the draws are stratified.

    >>> from scorekit.schedules import rectified_flow
    >>> LogNormalSigma(mean=0.0).quantile(jnp.array([0.5]), rectified_flow()).t
    Array([0.5], dtype=float32)

    Source: Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364).
    """

    mean: Number = -1.2
    std: Number = 1.2
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        log_sigma = self.mean + self.std * _normal_quantile(u)
        return Times(jnp.clip(schedule.time_at(-2.0 * log_sigma), 0.0, 1.0), jnp.ones_like(u))


@pytree_dataclass
class LogitNormal(TimeSampler):
    """``t = sigmoid(mean + std z)`` with z normal; build it with :func:`logit_normal`.

    Attributes:
      mean: mean of ``logit t``.
      std: its standard deviation.
      stratified: whether the draws are stratified.

    >>> LogitNormal().quantile(jnp.array([0.5]), None).t
    Array([0.5], dtype=float32)

    Source: Esser et al. 2024 (https://arxiv.org/abs/2403.03206).
    """

    mean: Number = 0.0
    std: Number = 1.0
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        del schedule
        return Times(jax.nn.sigmoid(self.mean + self.std * _normal_quantile(u)), jnp.ones_like(u))


@pytree_dataclass
class UniformLogSNR(TimeSampler):
    """``log_snr(t)`` uniform, with importance weights; build it with :func:`uniform_log_snr`.

    Attributes:
      t_min: smallest time.
      t_max: largest time.
      stratified: whether the draws are stratified.

    >>> from scorekit.schedules import geometric_ve
    >>> UniformLogSNR(t_min=0.0, t_max=1.0).quantile(jnp.array([0.25]), geometric_ve()).t.round(4)
    Array([0.25], dtype=float32)

    Source: Song et al. 2021, sec. 5 (https://arxiv.org/abs/2101.09258).
    """

    t_min: Number = 1e-4
    t_max: Number = 1.0 - 1e-4
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        first, last = schedule.log_snr(self.t_min), schedule.log_snr(self.t_max)
        check(np.isfinite, "finite", **{"log_snr(t_min)": first, "log_snr(t_max)": last})
        t = schedule.time_at(first + (last - first) * u)
        density = time_derivative(schedule.log_snr, t) / (last - first)
        return Times(t, 1.0 / (density * (self.t_max - self.t_min)))


@pytree_dataclass
class Adaptive(TimeSampler):
    """Bins of t drawn by the root-mean-square of their loss; build it with :func:`adaptive`.

    Attributes:
      second_moment: running mean of loss^2 in K equal bins of ``[t_min, t_max]``, ``(K,)``.
      decay: its decay at an update.
      floor: fraction of uniform draws.
      t_min: smallest time.
      t_max: largest time.
      stratified: whether the draws are stratified.

    >>> Adaptive(second_moment=jnp.array([9.0, 1.0]), floor=0.0).probabilities()
    Array([0.75, 0.25], dtype=float32)

    Source: Nichol & Dhariwal 2021 (https://arxiv.org/abs/2102.09672).
    """

    second_moment: ArrayLike
    decay: Number = 0.99
    floor: Number = 0.1
    t_min: Number = 1e-4
    t_max: Number = 1.0
    stratified: bool = static(default=True)

    def probabilities(self) -> Array:
        """The probability of each bin, ``(K,)``.

        Returns:
          ``(1 - floor) r_k / sum_j r_j + floor / K`` with r the root of the second moment, ``(K,)``.
        """
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


def _normal_quantile(u: Array) -> Array:
    tiny = jnp.finfo(u.dtype).tiny
    return ndtri(jnp.clip(u, tiny, 1.0 - jnp.finfo(u.dtype).epsneg))


def _check_range(t_min: Number, t_max: Number) -> None:
    check(lambda x: (x >= 0) & (x < 1), "in [0, 1)", t_min=t_min)
    check(lambda x: (x > t_min) & (x <= 1), f"in (t_min = {t_min}, 1]", t_max=t_max)


def uniform(t_min: Number = 1e-4, t_max: Number = 1.0, *, stratified: bool = True) -> Uniform:
    """Uniform times on ``[t_min, t_max]``.

    Args:
      t_min: smallest time, >= 0.
      t_max: largest time, <= 1.
      stratified: one draw per stratum instead of independent draws.

    Returns:
      A sampler of times.

    Raises:
      ValueError: unless ``0 <= t_min < t_max <= 1``.

    >>> uniform(0.0, 0.5).quantile(jnp.array([0.5]), None).t
    Array([0.25], dtype=float32)
    """
    _check_range(t_min, t_max)
    return Uniform(t_min=t_min, t_max=t_max, stratified=stratified)


def log_normal_sigma(mean: Number = -1.2, std: Number = 1.2, *, stratified: bool = True) -> LogNormalSigma:
    """Times at which ``log(sigma / alpha)`` is normal; noise levels outside the range of the schedule are clipped.

    Args:
      mean: mean of the natural log of the noise-to-signal ratio.
      std: its standard deviation, > 0.
      stratified: one draw per stratum instead of independent draws.

    Returns:
      A sampler of times.

    Raises:
      ValueError: if ``std`` is not positive or ``mean`` not finite.

    >>> from scorekit.schedules import rectified_flow
    >>> log_normal_sigma(mean=0.0).quantile(jnp.array([0.5]), rectified_flow()).t
    Array([0.5], dtype=float32)

    Source: Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364).
    """
    check(np.isfinite, "finite", mean=mean)
    check_positive(std=std)
    return LogNormalSigma(mean=mean, std=std, stratified=stratified)


def logit_normal(mean: Number = 0.0, std: Number = 1.0, *, stratified: bool = True) -> LogitNormal:
    """Times whose logit is normal: ``t = sigmoid(mean + std n)``.

    Args:
      mean: larger values favour noise.
      std: > 0.
      stratified: one draw per stratum instead of independent draws.

    Returns:
      A sampler of times.

    Raises:
      ValueError: if ``std`` is not positive or ``mean`` not finite.

    >>> logit_normal().quantile(jnp.array([0.5]), None).t
    Array([0.5], dtype=float32)

    Source: Esser et al. 2024 (https://arxiv.org/abs/2403.03206).
    """
    check(np.isfinite, "finite", mean=mean)
    check_positive(std=std)
    return LogitNormal(mean=mean, std=std, stratified=stratified)


def uniform_log_snr(t_min: Number = 1e-4, t_max: Number = 1.0 - 1e-4, *, stratified: bool = True) -> UniformLogSNR:
    """Importance sampling for the likelihood weighting: uniform in log-SNR, with the objective of :func:`uniform`.

    ``p(t) = |dlog_snr/dt| / (log_snr(t_min) - log_snr(t_max))`` and ``weight = 1 / (p (t_max - t_min))``, so that
    ``lambda / p`` is constant for :func:`scorekit.weightings.likelihood`: the same objective with less variance.

    Args:
      t_min: smallest time; the log-SNR there must be finite.
      t_max: largest time; the log-SNR there must be finite.
      stratified: one draw per stratum instead of independent draws.

    Returns:
      A sampler of times.

    Raises:
      ValueError: unless ``0 <= t_min < t_max <= 1``; when drawing, if the log-SNR is infinite at either.

    >>> from scorekit.schedules import geometric_ve
    >>> uniform_log_snr(0.0, 1.0).quantile(jnp.array([0.25]), geometric_ve()).t.round(4)
    Array([0.25], dtype=float32)

    Source: Song et al. 2021, sec. 5 (https://arxiv.org/abs/2101.09258).
    """
    _check_range(t_min, t_max)
    return UniformLogSNR(t_min=t_min, t_max=t_max, stratified=stratified)


def adaptive(
    num_bins: int = 20,
    *,
    decay: Number = 0.99,
    floor: Number = 0.1,
    t_min: Number = 1e-4,
    t_max: Number = 1.0,
    stratified: bool = True,
) -> Adaptive:
    """Loss-aware importance sampling: bins of t are drawn in proportion to the root-mean-square of their loss.

    The initial distribution is uniform; :func:`update_adaptive` adds the losses of a step. The objective is unchanged.

    ``p_k = (1 - floor) r_k / sum_j r_j + floor / K`` with ``r_k^2`` the running mean of loss^2 in bin k, and weights
    ``1 / (K p_k)``.

    Args:
      num_bins: number K of equal bins of ``[t_min, t_max]``.
      decay: decay of the running second moment, in [0, 1).
      floor: fraction of uniform draws, in (0, 1].
      t_min: smallest time.
      t_max: largest time.
      stratified: one draw per stratum instead of independent draws.

    Returns:
      A sampler of times.

    Raises:
      ValueError: for a value outside its range.

    >>> adaptive(num_bins=4).probabilities()
    Array([0.25, 0.25, 0.25, 0.25], dtype=float32)

    Source: Nichol & Dhariwal 2021, eq. 18 (https://arxiv.org/abs/2102.09672).
    """
    _check_range(t_min, t_max)
    check_count(num_bins=num_bins)
    check(lambda x: (x >= 0) & (x < 1), "in [0, 1)", decay=decay)
    check(lambda x: (x > 0) & (x <= 1), "in (0, 1]", floor=floor)
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

    Losses that are not finite, or whose square is not, are ignored, and so are those of a time that is not finite.

    ``m_k <- decay m_k + (1 - decay) mean(loss^2)`` over the draws in bin k.

    Args:
      sampler: the sampler that drew ``t``.
      t: times ``(B,)``.
      loss: per-example losses ``(B,)`` *without* the importance weight.

    Returns:
      The sampler with the new second moments.

    Raises:
      ValueError: for a time outside [0, 1], or unless both are ``(B,)``.

    >>> s = update_adaptive(adaptive(num_bins=2, decay=0.0), jnp.array([0.2, 0.8]), jnp.array([3.0, 1.0]))
    >>> s.second_moment
    Array([9., 1.], dtype=float32)

    Source: Nichol & Dhariwal 2021 (https://arxiv.org/abs/2102.09672).
    """
    check_time(t=t)
    check_like("t", t, loss=loss)
    t, loss = as_time(t), as_time(loss)
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

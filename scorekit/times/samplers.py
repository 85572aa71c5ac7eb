"""Continuous samplers of training times, and stratified drawing.

Args:
  key: PRNG key.
  t_min: smallest time.
  t_max: largest time, above ``t_min``.
  stratified: one draw per stratum instead of independent draws.

Returns:
  A sampler of times.

>>> from scorekit.schedules import rectified_flow
>>> made = uniform(0.0, 0.5), log_normal_sigma(mean=0.0), logit_normal(), uniform_log_snr(0.25, 0.75)
>>> [type(each) for each in made] == [Uniform, LogNormalSigma, LogitNormal, UniformLogSNR]
True
>>> [round(float(each.quantile(jnp.array([0.5]), rectified_flow()).t[0]), 4) for each in made]
[0.25, 0.5, 0.5, 0.5]
>>> times: Times = draw(jax.random.key(0), uniform(), rectified_flow(), 8)
>>> times.t.shape, float(times.weight.mean())
((8,), 1.0)
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from scorekit.arguments import AboveZero, BelowOne, Finite, Positive, PositiveInt, checked
from scorekit.checks import check
from scorekit.schedules import time_derivative
from scorekit.times._ranges import check_range
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, Key, Number, Schedule


class Times(NamedTuple):
    """Times and their importance weights.

    Attributes:
      t: the times, ``(B,)``.
      weight: the factor of the loss of each, ``(B,)``.
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


@checked
def stratified_uniform(key: Key, n: PositiveInt) -> Array:
    """``(arange(n) + u) / n`` with one uniform u per stratum, in random order: ``(n,)`` in [0, 1).

    Args:
      n: number of draws.

    >>> import numpy as np
    >>> np.sort(np.asarray(stratified_uniform(jax.random.key(0), 4)) * 4).astype(int)
    array([0, 1, 2, 3])

    Source: Kingma et al. 2021 (https://arxiv.org/abs/2107.00630), with an independent u per stratum.
    """
    for_offsets, for_order = jax.random.split(key)
    u = (jnp.arange(n) + jax.random.uniform(for_offsets, (n,))) / n
    return jax.random.permutation(for_order, jnp.minimum(u, 1.0 - jnp.finfo(u.dtype).epsneg))


@checked
def draw(key: Key, sampler: TimeSampler, schedule: Schedule, n: PositiveInt) -> Times:
    """Draws ``n`` training times: the times and their weights, ``(n,)`` each.

    Args:
      n: number of times, normally the global batch size.
      sampler: a sampler of this package, or any :class:`TimeSampler`.
      schedule: the noise schedule.
    """
    u = stratified_uniform(key, n) if sampler.stratified else jax.random.uniform(key, (n,))
    return sampler.quantile(u, schedule)


@pytree_dataclass
class Uniform(TimeSampler):
    """``t = t_min + (t_max - t_min) u``; build it with :func:`uniform`."""

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
      std: standard deviation of ``log(sigma / alpha)``.
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
      std: standard deviation of ``logit t``.
    """

    mean: Number = 0.0
    std: Number = 1.0
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        del schedule
        return Times(jax.nn.sigmoid(self.mean + self.std * _normal_quantile(u)), jnp.ones_like(u))


@pytree_dataclass
class UniformLogSNR(TimeSampler):
    """``log_snr(t)`` uniform, with importance weights; build it with :func:`uniform_log_snr`."""

    t_min: Number = 1e-4
    t_max: Number = 1.0 - 1e-4
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        first, last = schedule.log_snr(self.t_min), schedule.log_snr(self.t_max)
        check(np.isfinite, "finite", **{"log_snr(t_min)": first, "log_snr(t_max)": last})
        t = schedule.time_at(first + (last - first) * u)
        density = time_derivative(schedule.log_snr, t) / (last - first)
        return Times(t, 1.0 / (density * (self.t_max - self.t_min)))


def _normal_quantile(u: Array) -> Array:
    tiny = jnp.finfo(u.dtype).tiny
    return ndtri(jnp.clip(u, tiny, 1.0 - jnp.finfo(u.dtype).epsneg))


@checked
def uniform(t_min: BelowOne = 1e-4, t_max: AboveZero = 1.0, *, stratified: bool = True) -> Uniform:
    """Uniform times on ``[t_min, t_max]``."""
    check_range(t_min, t_max)
    return Uniform(t_min=t_min, t_max=t_max, stratified=stratified)


@checked
def log_normal_sigma(mean: Finite = -1.2, std: Positive = 1.2, *, stratified: bool = True) -> LogNormalSigma:
    """Times at which ``log(sigma / alpha)`` is normal; noise levels outside the range of the schedule are clipped.

    Args:
      mean: mean of the natural log of the noise-to-signal ratio.
      std: standard deviation of the logarithm.

    Source: Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364).
    """
    return LogNormalSigma(mean=mean, std=std, stratified=stratified)


@checked
def logit_normal(mean: Finite = 0.0, std: Positive = 1.0, *, stratified: bool = True) -> LogitNormal:
    """Times whose logit is normal: ``t = sigmoid(mean + std n)``.

    Args:
      mean: mean of the logit; larger values favour noise.
      std: standard deviation of the logit.

    Source: Esser et al. 2024 (https://arxiv.org/abs/2403.03206).
    """
    return LogitNormal(mean=mean, std=std, stratified=stratified)


@checked
def uniform_log_snr(t_min: BelowOne = 1e-4, t_max: AboveZero = 1.0 - 1e-4, *, stratified: bool = True) -> UniformLogSNR:
    """Importance sampling for the likelihood weighting: uniform in log-SNR, with the objective of :func:`uniform`.

    ``p(t) = |dlog_snr/dt| / (log_snr(t_min) - log_snr(t_max))`` and ``weight = 1 / (p (t_max - t_min))``, so that
    ``lambda / p`` is constant for :func:`scorekit.weightings.likelihood`: the same objective with less variance.
    The log-SNR of the schedule must be finite at both ends.

    Source: Song et al. 2021 (https://arxiv.org/abs/2101.09258).
    """
    check_range(t_min, t_max)
    return UniformLogSNR(t_min=t_min, t_max=t_max, stratified=stratified)

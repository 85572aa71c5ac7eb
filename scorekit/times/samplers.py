"""Continuous samplers of training times, and stratified drawing.

>>> from scorekit.schedules import RectifiedFlow
>>> made = Uniform(t_min=0.0, t_max=0.5), LogNormalSigma(mean=0.0), LogitNormal(), UniformLogSNR(t_min=0.25, t_max=0.75)
>>> [type(each) for each in made] == [Uniform, LogNormalSigma, LogitNormal, UniformLogSNR]
True
>>> [round(float(each.quantile(jnp.array([0.5]), RectifiedFlow()).t[0]), 4) for each in made]
[0.25, 0.5, 0.5, 0.5]
>>> times: Times = draw(jax.random.key(0), Uniform(), RectifiedFlow(), 8)
>>> times.t.shape, float(times.weight.mean())
((8,), 1.0)
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from scorekit.arguments import Finite, FractionBelowOne, Positive, PositiveFraction, PositiveInt, checked
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
      key: PRNG key.
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
      key: PRNG key.
      sampler: a sampler of this package, or any :class:`TimeSampler`.
      schedule: the noise schedule.
      n: number of times, normally the global batch size.
    """
    u = stratified_uniform(key, n) if sampler.stratified else jax.random.uniform(key, (n,))
    return sampler.quantile(u, schedule)


@pytree_dataclass
class Uniform(TimeSampler):
    """Uniform times: ``t = t_min + (t_max - t_min) u``.

    Args:
      t_min: the smallest time.
      t_max: the largest time, above ``t_min``.
      stratified: one draw per stratum instead of independent draws.
    """

    t_min: FractionBelowOne[Number] = 1e-4
    t_max: PositiveFraction[Number] = 1.0
    stratified: bool = static(default=True)

    def __post_init__(self):
        check_range(self.t_min, self.t_max)

    def quantile(self, u, schedule):
        del schedule
        return Times(self.t_min + (self.t_max - self.t_min) * u, jnp.ones_like(u))


@pytree_dataclass
class LogNormalSigma(TimeSampler):
    """Times at which ``log(sigma / alpha)`` is normal; noise levels outside the range of the schedule are clipped.

    Args:
      mean: mean of the natural log of the noise-to-signal ratio.
      std: standard deviation of the logarithm.
      stratified: one draw per stratum instead of independent draws.

    Source: Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364).
    """

    mean: Finite[Number] = -1.2
    std: Positive[Number] = 1.2
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        log_sigma = self.mean + self.std * _normal_quantile(u)
        return Times(jnp.clip(schedule.time_at(-2.0 * log_sigma), 0.0, 1.0), jnp.ones_like(u))


@pytree_dataclass
class LogitNormal(TimeSampler):
    """Times whose logit is normal: ``t = sigmoid(mean + std n)``.

    Args:
      mean: mean of the logit; larger values favour noise.
      std: standard deviation of the logit.
      stratified: one draw per stratum instead of independent draws.

    Source: Esser et al. 2024 (https://arxiv.org/abs/2403.03206).
    """

    mean: Finite[Number] = 0.0
    std: Positive[Number] = 1.0
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        del schedule
        return Times(jax.nn.sigmoid(self.mean + self.std * _normal_quantile(u)), jnp.ones_like(u))


@pytree_dataclass
class UniformLogSNR(TimeSampler):
    """Importance sampling for the likelihood weighting: uniform in log-SNR, with the objective of :class:`Uniform`.

    ``p(t) = |dlog_snr/dt| / (log_snr(t_min) - log_snr(t_max))`` and ``weight = 1 / (p (t_max - t_min))``, so that
    ``lambda / p`` is constant for :func:`scorekit.weightings.likelihood`: the same objective with less variance.
    The log-SNR of the schedule must be finite at both ends.

    Args:
      t_min: the smallest time.
      t_max: the largest time, above ``t_min``.
      stratified: one draw per stratum instead of independent draws.

    Source: Song et al. 2021 (https://arxiv.org/abs/2101.09258).
    """

    t_min: FractionBelowOne[Number] = 1e-4
    t_max: PositiveFraction[Number] = 1.0 - 1e-4
    stratified: bool = static(default=True)

    def __post_init__(self):
        check_range(self.t_min, self.t_max)

    def quantile(self, u, schedule):
        first, last = schedule.log_snr(self.t_min), schedule.log_snr(self.t_max)
        check(np.isfinite, "finite", **{"log_snr(t_min)": first, "log_snr(t_max)": last})
        t = schedule.time_at(first + (last - first) * u)
        density = time_derivative(schedule.log_snr, t) / (last - first)
        return Times(t, 1.0 / (density * (self.t_max - self.t_min)))


def _normal_quantile(u: Array) -> Array:
    tiny = jnp.finfo(u.dtype).tiny
    return ndtri(jnp.clip(u, tiny, 1.0 - jnp.finfo(u.dtype).epsneg))

"""Times at the noise levels that matter for a frequency band."""

import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.numerics import band_fractions
from scorekit.times.samplers import Times, TimeSampler
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, Numbers


@pytree_dataclass
class Band(TimeSampler):
    """``log_snr`` logistic around ``-log P_k``; build it with :func:`band`.

    Attributes:
      log_power: ``log P_k``, ``(K,)``.
      fraction: fraction of coefficients with each power, ``(K,)``.
      stratified: one draw per stratum instead of independent draws.

    >>> from scorekit.schedules import RectifiedFlow
    >>> sampler: Band = band(4.0)
    >>> sampler.quantile(jnp.array([0.5]), RectifiedFlow()).t.round(4)  # sigma / alpha = 2
    Array([0.6667], dtype=float32)
    """

    log_power: Array
    fraction: Array
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        ends = jnp.cumsum(self.fraction)
        k = jnp.minimum(jnp.searchsorted(ends, u, side="right"), ends.shape[0] - 1)
        within = (u - (ends[k] - self.fraction[k])) / self.fraction[k]
        within = jnp.clip(within, jnp.finfo(u.dtype).tiny, 1.0 - jnp.finfo(u.dtype).epsneg)
        log_snr = -self.log_power[k] - (jnp.log(within) - jnp.log1p(-within))
        return Times(jnp.clip(schedule.time_at(log_snr), 0.0, 1.0), jnp.ones_like(u))


@checked
def band(power: Positive[Numbers], count: Positive[Numbers] | None = None, *, stratified: bool = True) -> Band:
    """Times whose log-SNR has the density :func:`scorekit.weightings.band`: a logistic around ``-log P_k``.

    With a constant weight they give the same objective as that weighting with uniform log-SNR, without draws at noise
    levels of no weight. For a single power P, ``log(sigma / alpha)`` is logistic with mean ``log(P) / 2`` and standard
    deviation 0.91, similar to :class:`LogNormalSigma`: the values of EDM, -1.2 and 1.2, correspond to a power of about
    0.09.

    Args:
      power: the powers P_k of the band, ``(K,)`` or a scalar.
      count: number of coefficients with each power, ``(K,)``; equal by default.
      stratified: one draw per stratum instead of independent draws.

    >>> from scorekit.schedules import RectifiedFlow
    >>> band(1.0).quantile(jnp.array([0.5]), RectifiedFlow()).t
    Array([0.5], dtype=float32)
    """
    log_power, fraction = band_fractions(power, count)
    return Band(log_power=log_power, fraction=fraction, stratified=stratified)

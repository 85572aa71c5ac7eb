"""Discrete times, as in denoising autoencoders: a single noise level, several, or one that is annealed.

A denoising autoencoder minimises the denoising loss with another distribution of times: a single noise level (Vincent
et al. 2008), a noise level that decreases during training (scheduled), or several noise levels, on which the network is
conditioned (similar to the composite one).

>>> sampler: Discrete = discrete([0.2, 0.8], [3, 1])
>>> sampler.quantile(jnp.array([0.1, 0.7, 0.9]), None).t
Array([0.2, 0.2, 0.8], dtype=float32)
>>> half = at_progress(annealed(0.8, 0.2), 0.5)
>>> isinstance(half, Annealed), half.quantile(jnp.zeros(2), None).t
(True, Array([0.5, 0.5], dtype=float32))
>>> at_progress(sampler, 0.3) is sampler
True
"""

import dataclasses

import jax.numpy as jnp

from scorekit.arguments import Fraction, Positive, checked
from scorekit.checks import check_per_example, check_time
from scorekit.times.samplers import Times, TimeSampler
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Number, Numbers


@pytree_dataclass
class Discrete(TimeSampler):
    """``P(t = ts[k]) = weights[k] / sum(weights)``; build it with :func:`discrete`.

    Attributes:
      ts: the times ``(K,)``.
      weights: weight of each, ``(K,)``.
      stratified: one draw per stratum instead of independent draws.
    """

    ts: Array
    weights: Array
    stratified: bool = static(default=True)

    def quantile(self, u, schedule):
        del schedule
        ends = jnp.cumsum(self.weights)
        k = jnp.minimum(jnp.searchsorted(ends / ends[-1], u, side="right"), ends.shape[0] - 1)
        return Times(self.ts[k], jnp.ones_like(u))


@pytree_dataclass
class Annealed(TimeSampler):
    """``t = first + (last - first) progress`` for all examples; build it with :func:`annealed`.

    Attributes:
      first: the time at progress 0.
      last: the time at progress 1.
      progress: the completed fraction of training in [0, 1], a scalar or ``(B,)``.
      stratified: whether draws are stratified; all times are equal either way.
    """

    first: Number
    last: Number
    progress: ArrayLike = 1.0
    stratified: bool = static(default=False)

    def quantile(self, u, schedule):
        del schedule
        check_per_example(u, progress=self.progress)
        t = self.first + (self.last - self.first) * jnp.asarray(self.progress, u.dtype)
        return Times(jnp.broadcast_to(t, u.shape), jnp.ones_like(u))


@checked
def discrete(ts: Fraction[Numbers], weights: Positive[Numbers] | None = None, *, stratified: bool = True) -> Discrete:
    """A discrete distribution of times: ``P(t = ts[k]) = weights[k] / sum(weights)``.

    A single time gives the plain denoising autoencoder; several give the composite one, except that all noise levels
    share the full network instead of having separate hidden units.

    Args:
      ts: the times ``(K,)`` or a scalar.
      weights: weight of each, ``(K,)``; equal by default.
      stratified: the number of draws of each time is its expectation, up to two examples.

    Source: Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders"; Geras & Sutton
    2016, "Composite denoising autoencoders".
    """
    points = jnp.atleast_1d(jnp.asarray(ts, float))
    shares = jnp.ones(points.shape) if weights is None else jnp.asarray(weights, float)
    if points.ndim != 1 or points.shape[0] == 0 or shares.shape != points.shape:
        raise ValueError(f"ts and weights must share a shape (K,), K >= 1, got {points.shape} and {shares.shape}")
    return Discrete(ts=points, weights=shares, stratified=stratified)


@checked
def annealed(first: Fraction[Number], last: Fraction[Number]) -> Annealed:
    """A single time for all examples, which moves from ``first`` to ``last`` during training.

    ``t = first + (last - first) progress``; set the progress with :func:`at_progress` at every step. The default is the
    end of training. With ``first > last`` the noise decreases: coarse features are learned before fine ones.

    Args:
      first: the time at the beginning of training.
      last: the time at the end of training.

    Source: Geras & Sutton 2015, "Scheduled denoising autoencoders" (https://arxiv.org/abs/1406.3269).
    """
    return Annealed(first=first, last=last)


def at_progress(sampler: TimeSampler, progress: ArrayLike) -> TimeSampler:
    """The sampler at the given progress of training; only :func:`annealed` samplers depend on it.

    Args:
      sampler: any sampler of times; other samplers are returned unchanged.
      progress: the completed fraction of training in [0, 1], a scalar or ``(B,)``.
    """
    check_time(progress=progress)
    if not isinstance(sampler, Annealed):
        return sampler
    return dataclasses.replace(sampler, progress=progress)

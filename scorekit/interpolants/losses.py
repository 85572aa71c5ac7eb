"""The regressions that train an interpolant.

Args:
  interpolant: scales of the state.
  x0: data at t = 0, a tree of ``(B, ...)`` arrays.
  x1: data at t = 1, shaped like ``x0``.
  target: prediction of the network.
  network: ``(x_t, t) -> output`` with ``t`` of shape ``(B,)``; the output is shaped like ``x0``, for "ends" a pair.

Returns:
  The losses ``(B,)``; take the mean to train.

>>> from scorekit.interpolants import linear
>>> x0, x1, times = jnp.zeros((2, 1)), jnp.ones((2, 1)), Times(jnp.array([0.25, 0.5]), jnp.ones(2))
>>> interpolant_loss_at(lambda x, t: 0 * x, linear(), x0, x1, x0, times, target="velocity")
Array([1., 1.], dtype=float32)
>>> interpolant_loss(jax.random.key(0), lambda x, t: (x, x), linear(), x1, x1)
Array([0., 0.], dtype=float32)

Source: Albergo et al. 2023 (https://arxiv.org/abs/2303.08797).
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from scorekit._numerics import wide
from scorekit.arguments import checked
from scorekit.checks import check_floating, check_like
from scorekit.interpolants.scales import Interpolant, interpolate
from scorekit.interpolants.velocities import velocity
from scorekit.schedules import rectified_flow
from scorekit.times import Times, TimeSampler, draw, uniform
from scorekit.trees import batch_size, event_size, normal_like, sum_per_example
from scorekit.typing import Array, Key, PyTree

__all__ = ["InterpolantTarget", "interpolant_loss", "interpolant_loss_at"]

InterpolantTarget: TypeAlias = Literal["ends", "x0", "x1", "z", "velocity"]
"""The prediction of a network of an interpolant; "ends" is the pair ``(x0, x1)``."""


@checked
def interpolant_loss(
    key: Key,
    network: Callable[[PyTree, Array], PyTree],
    interpolant: Interpolant,
    x0: PyTree,
    x1: PyTree,
    *,
    target: InterpolantTarget = "ends",
    times: TimeSampler | None = None,
) -> Array:
    """The loss of each example at random times and noise: ``w |network(x_t, t) - target|^2 / D``.

    Its minimum is the expectation of the target given x_t. Pairs ``(x0_i, x1_i)`` may be independent, paired by the
    data, or by :func:`~scorekit.interpolants.couplings.pair`. The variance of "velocity" grows without bound towards
    the ends of an interpolant with noise; the variance of other targets is bounded.

    Args:
      key: PRNG key.
      times: sampler of t that does not depend on a noise level; default ``uniform()``.
    """
    check_floating(x0=x0)
    for_times, for_noise = jax.random.split(key)
    drawn = draw(for_times, batch_size(x0), uniform() if times is None else times, rectified_flow())
    return interpolant_loss_at(network, interpolant, x0, x1, normal_like(for_noise, x0), drawn, target=target)


@checked
def interpolant_loss_at(
    network: Callable[[PyTree, Array], PyTree],
    interpolant: Interpolant,
    x0: PyTree,
    x1: PyTree,
    z: PyTree,
    times: Times,
    *,
    target: InterpolantTarget = "ends",
) -> Array:
    """:func:`interpolant_loss` at given times and noise: ``w |network(x_t, t) - target|^2 / D``.

    Args:
      z: standard normal noise shaped like ``x0``.
      times: times and importance weights, ``(B,)`` each.
    """
    check_floating(x0=x0)
    n = batch_size(x0)
    for name, value in zip(Times._fields, times, strict=True):
        if jnp.shape(value) != (n,):
            raise ValueError(f"times.{name} must have shape ({n},), one per example, got {jnp.shape(value)}")
    x_t = interpolate(x0, x1, z, times.t, interpolant)
    if target == "velocity":
        truth = velocity(x0, x1, z, times.t, interpolant)
    else:
        truth = {"ends": (x0, x1), "x0": x0, "x1": x1, "z": z}[target]
    output = network(x_t, times.t)
    check_like("the target", truth, output=output)
    error = jax.tree.map(lambda a, e: wide(a) - e, output, truth)
    return times.weight * sum_per_example(jnp.square, error) / event_size(truth)

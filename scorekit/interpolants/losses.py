"""The regressions that train an interpolant."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from scorekit.checks import check_floating, check_like
from scorekit.interpolants.scales import Interpolant, interpolate
from scorekit.interpolants.velocities import velocity
from scorekit.schedules import rectified_flow
from scorekit.times import Times, TimeSampler, draw, uniform
from scorekit.trees import batch_size, event_size, normal_like, sum_per_example
from scorekit.typing import Array, Key, PyTree

__all__ = ["InterpolantTarget", "interpolant_loss", "interpolant_loss_at"]

InterpolantTarget: TypeAlias = Literal["ends", "x0", "x1", "z", "velocity"]
"""What a network of an interpolant predicts; "ends" is the pair ``(x0, x1)``."""
_TARGETS = ("ends", "x0", "x1", "z", "velocity")


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

    Its minimum is the expectation of the target given x_t. Pairs ``(x0_i, x1_i)`` are what the data are: independent,
    paired, or :func:`scorekit.couplings.pair`. The variance of "velocity" grows without bound towards the ends of an
    interpolant with noise, that of the others does not.

    Args:
      key: PRNG key.
      network: ``(x_t, t) -> output`` with ``t`` of shape ``(B,)``; the output is shaped like ``x0``, for "ends" a pair.
      interpolant: the scales.
      x0: data at t = 0, a tree of ``(B, ...)`` arrays.
      x1: data at t = 1, shaped like ``x0``.
      target: what the network predicts.
      times: sampler of t that does not depend on a noise level; default ``uniform()``.

    Returns:
      The losses ``(B,)``; take the mean to train.

    Raises:
      ValueError: for an unknown target, data that are not floating or of different shapes, or a network whose output
        has another shape.

    >>> from scorekit.interpolants import linear
    >>> network = lambda x, t: (x, x)
    >>> interpolant_loss(jax.random.key(0), network, linear(), jnp.ones((3, 2)), jnp.ones((3, 2)))
    Array([0., 0., 0.], dtype=float32)

    Source: Albergo et al. 2023 (https://arxiv.org/abs/2303.08797).
    """
    check_floating(x0=x0)
    for_times, for_noise = jax.random.split(key)
    drawn = draw(for_times, batch_size(x0), uniform() if times is None else times, rectified_flow())
    return interpolant_loss_at(network, interpolant, x0, x1, normal_like(for_noise, x0), drawn, target=target)


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
      network: ``(x_t, t) -> output``.
      interpolant: the scales.
      x0: data at t = 0, a tree of ``(B, ...)`` arrays.
      x1: data at t = 1, shaped like ``x0``.
      z: standard normal noise shaped like ``x0``.
      times: times and importance weights, ``(B,)`` each.
      target: what the network predicts.

    Returns:
      The losses ``(B,)``.

    Raises:
      ValueError: as :func:`interpolant_loss`, or for times outside [0, 1] or of another number.

    >>> from scorekit.interpolants import linear
    >>> x0, x1, times = jnp.zeros((2, 1)), jnp.ones((2, 1)), Times(jnp.array([0.25, 0.5]), jnp.ones(2))
    >>> interpolant_loss_at(lambda x, t: 0 * x, linear(), x0, x1, x0, times, target="velocity")
    Array([1., 1.], dtype=float32)

    Source: Albergo et al. 2023 (https://arxiv.org/abs/2303.08797).
    """
    if target not in _TARGETS:
        raise ValueError(f"target must be one of {', '.join(_TARGETS)}, got {target!r}")
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
    error = jax.tree.map(lambda a, e: a.astype(jnp.promote_types(a.dtype, jnp.float32)) - e, output, truth)
    return times.weight * sum_per_example(jnp.square, error) / event_size(truth)

"""Rewards on the scale that losses take: relative to a group of equal size, such as the samples of one prompt."""

import jax.numpy as jnp

from scorekit.alignment._steps import check_rewards
from scorekit.arguments import Positive, PositiveInt, checked
from scorekit.numerics import wide
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike


@checked
def advantages(rewards: ArrayLike, *, num_groups: PositiveInt = 1) -> Array:
    """``(r - mean) / std`` within each group, ``(B,)``; 0 in a group whose rewards are equal.

    Args:
      rewards: r, real numbers ``(B,)``, the members of a group next to one another. Concrete rewards that are equal in
        every group, so that there is nothing to learn, are an error.
      num_groups: number of groups.

    >>> advantages(jnp.array([1.0, 3.0, 5.0, 5.0]), num_groups=2)
    Array([-1.,  1.,  0.,  0.], dtype=float32)

    Source: Shao et al. 2024, group relative policy optimisation (https://arxiv.org/abs/2402.03300).
    """
    r = _groups(rewards, num_groups)
    std = _std(r, axis=1)
    return (_centred(r) / jnp.where(std > 0, std, 1.0)).reshape(-1)


@checked
def optimality(rewards: ArrayLike, *, num_groups: PositiveInt = 1, scale: Positive[float] | None = None) -> Array:
    """``1/2 + clip((r - mean) / Z, -1, 1) / 2`` in [0, 1], ``(B,)``, with the mean of each group.

    Args:
      rewards: r, as in :func:`advantages`; a group of equal ones has 1/2.
      num_groups: number of groups.
      scale: Z in the units of the reward; None for the standard deviation of all rewards.

    >>> optimality(jnp.array([0.0, 1.0, 2.0]), scale=2.0)
    Array([0.25, 0.5 , 0.75], dtype=float32)

    Source: Zheng et al. 2025 (https://arxiv.org/abs/2509.16117).
    """
    r = _groups(rewards, num_groups)
    unit = _std(r, axis=None) if scale is None else jnp.asarray(scale)
    return (0.5 + 0.5 * jnp.clip(_centred(r) / jnp.where(unit > 0, unit, 1.0), -1.0, 1.0)).reshape(-1)


def _groups(rewards, num_groups):
    """The rewards as rows of groups, ``(num_groups, B / num_groups)``."""
    b = jnp.size(rewards)
    check_rewards(b, rewards=rewards)
    if b == 0 or b % num_groups:
        raise ValueError(f"rewards must be a multiple of num_groups = {num_groups} numbers, at least one, got {b}")
    r = wide(rewards).reshape(num_groups, -1)
    if not is_traced(r) and not jnp.any(jnp.ptp(r, axis=1) > 0):
        raise ValueError(f"rewards must differ within a group, got equal ones in each of {num_groups}: {rewards}")
    return r


def _centred(r):
    """Rewards minus the mean of their group, exactly 0 where all are equal."""
    above = r - jnp.min(r, axis=1, keepdims=True)
    return above - jnp.mean(above, axis=1, keepdims=True)


def _std(r, axis):
    """The standard deviation, exactly 0 where all are equal; squares of large rewards do not overflow."""
    low, width = jnp.min(r, axis=axis, keepdims=True), jnp.ptp(r, axis=axis, keepdims=True)
    return width * jnp.std((r - low) / jnp.where(width > 0, width, 1.0), axis=axis, keepdims=True)

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
      rewards: r, ``(B,)``, members of a group next to one another; an error if they are equal in every group.
      num_groups: number of groups.

    >>> advantages(jnp.array([1.0, 3.0, 5.0, 5.0]), num_groups=2)
    Array([-1.,  1.,  0.,  0.], dtype=float32)

    Source: Shao et al. 2024, group relative policy optimisation (https://arxiv.org/abs/2402.03300).
    """
    b = jnp.size(rewards)
    check_rewards(b, rewards=rewards)
    if b == 0 or b % num_groups:
        raise ValueError(f"rewards must be a multiple of num_groups = {num_groups} numbers, at least one, got {b}")
    r = wide(rewards).reshape(num_groups, -1)
    width = jnp.ptp(r, axis=1, keepdims=True)
    if not is_traced(r) and not jnp.any(width > 0):
        raise ValueError(f"rewards must differ within a group, got equal ones in each of {num_groups}: {rewards}")
    r = (r - jnp.min(r, axis=1, keepdims=True)) / jnp.where(width > 0, width, 1.0)  # 0 where all are equal
    centred = r - jnp.mean(r, axis=1, keepdims=True)
    return (centred / jnp.where(width > 0, jnp.std(r, axis=1, keepdims=True), 1.0)).reshape(-1)


@checked
def optimality(rewards: ArrayLike, *, num_groups: PositiveInt = 1, scale: Positive[float] = 1.0) -> Array:
    """``1/2 + clip(A / scale, -1, 1) / 2`` in [0, 1], ``(B,)``, of the :func:`advantages` A.

    Args:
      rewards, num_groups: as in :func:`advantages`.
      scale: the advantage from which on a sample counts as good.

    >>> optimality(jnp.array([1.0, 3.0]), scale=2.0)
    Array([0.25, 0.75], dtype=float32)

    Source: Zheng et al. 2025 (https://arxiv.org/abs/2509.16117).
    """
    return 0.5 + 0.5 * jnp.clip(advantages(rewards, num_groups=num_groups) / scale, -1.0, 1.0)

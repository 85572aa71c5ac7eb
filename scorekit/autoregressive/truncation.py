"""Changes of categorical conditionals: temperature, top-k, nucleus and locally typical sampling.

Each takes logits ``(..., V)`` and returns logits, minus infinity for codes that may no longer be drawn; they compose,
and the ``transform`` of :func:`scorekit.autoregressive.sample` applies them to every step.
"""

import jax
import jax.numpy as jnp

from scorekit.arguments import Positive, PositiveFraction, PositiveInt, checked
from scorekit.checks import check_floating, check_not_nan
from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike


@checked
def temperature(logits: ArrayLike, temperature: Positive[float]) -> Array:
    """The conditionals at a temperature: ``p(x_i | x_<i)^(1 / T)``, normalised for each position.

    It is not the temperature of the joint, which :func:`scorekit.guidance.sequences.guide_joint` counts out.

    Args:
      logits: ``(..., V)``.
      temperature: T.

    >>> p = jax.nn.softmax(temperature(jnp.log(jnp.array([0.25, 0.75])), 0.5))
    >>> [f"{each:.1f}" for each in p]  # 1 to 9
    ['0.1', '0.9']

    Source: Ackley et al. 1985 (https://doi.org/10.1207/s15516709cog0901_7).
    """
    return _checked(logits) / temperature


@checked
def top_k(logits: ArrayLike, k: PositiveInt) -> Array:
    """Only the k most probable codes: ``p(x) = 0`` for all others; of equal ones the first are kept.

    Args:
      logits: ``(..., V)``.
      k: number of codes, at most V.

    Returns:
      Logits ``(..., V)``.

    >>> top_k(jnp.array([1.0, 3.0, 2.0]), 2).tolist()
    [-inf, 3.0, 2.0]

    Source: Fan et al. 2018 (https://arxiv.org/abs/1805.04833).
    """
    logits = _checked(logits)
    if k > logits.shape[-1]:
        raise ValueError(f"k must be at most the number of codes, {logits.shape[-1]}, got {k}")
    return _first(logits, -logits, lambda p: jnp.arange(p.shape[-1]) < k)


@checked
def nucleus(logits: ArrayLike, mass: PositiveFraction[float]) -> Array:
    """The most probable codes until ``mass`` (top-p): ``p(x) = 0`` for those outside the smallest set that has it.

    Args:
      logits: ``(..., V)``.
      mass: the probability to keep; 1 keeps all.

    >>> nucleus(jnp.array([-2.0, 0.0, 0.0]), 0.75).tolist()
    [-inf, 0.0, 0.0]

    Source: Holtzman et al. 2020 (https://arxiv.org/abs/1904.09751).
    """
    logits = _checked(logits)
    return _first(logits, -logits, lambda p: _lacks(p, mass))


@checked
def typical(logits: ArrayLike, mass: PositiveFraction[float]) -> Array:
    """Locally typical sampling: the codes with information nearest to the entropy, ``|-log p(x) - H|``, until ``mass``.

    The smallest such set with ``sum p(x) >= mass``. The most probable code is not in it where it says much less than
    the conditional says on average; sampling is typical for each conditional, not for the joint
    (:mod:`scorekit.typicality`).

    Args:
      logits: ``(..., V)``.
      mass: the probability to keep; 1 keeps all.

    Returns:
      Logits ``(..., V)``.

    >>> p = jnp.array([0.4, 0.15, 0.15, 0.15, 0.15])  # H = 1.50: 0.4 says 0.92, 0.15 says 1.90
    >>> jnp.isfinite(typical(jnp.log(p), 0.55)).tolist()
    [False, True, True, True, True]

    Source: Meister et al. 2023, "Locally typical sampling" (https://arxiv.org/abs/2202.00666).
    """
    logits = _checked(logits)
    log_p = jax.nn.log_softmax(wide(logits))
    possible = jnp.isfinite(log_p)
    entropy = -jnp.sum(jnp.where(possible, jnp.exp(log_p) * jnp.where(possible, log_p, 0.0), 0.0), -1, keepdims=True)
    distance = jnp.where(possible, jnp.abs(jnp.where(possible, log_p, 0.0) + entropy), jnp.inf)
    return _first(logits, distance, lambda p: _lacks(p, mass))


def _first(logits, order, keep):
    """The logits of the codes that are kept, of their probabilities ``(..., V)`` in increasing ``order``."""
    ranks = jnp.argsort(order, axis=-1, stable=True)
    kept = keep(jnp.take_along_axis(jax.nn.softmax(wide(logits)), ranks, axis=-1))
    kept = jnp.take_along_axis(jnp.broadcast_to(kept, ranks.shape), jnp.argsort(ranks, axis=-1), axis=-1)
    return jnp.where(kept | jnp.isnan(logits), logits, -jnp.inf)


def _lacks(p, mass):
    """Whether the probabilities before each have less than ``mass``; rounding must not take codes away from all."""
    total = jnp.cumsum(p, axis=-1)
    return (jnp.concatenate([jnp.zeros_like(total[..., :1]), total[..., :-1]], axis=-1) < mass) | (mass >= 1)


def _checked(logits: ArrayLike) -> Array:
    check_floating(logits=logits)
    check_not_nan(logits=logits)
    if jnp.ndim(logits) < 1:
        raise ValueError(f"logits must have shape (..., V), got {jnp.shape(logits)}")
    return jnp.asarray(logits)

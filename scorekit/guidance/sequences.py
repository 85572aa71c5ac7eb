"""Exact guidance of discrete sequences, by enumeration in log space.

An autoregressive model gives ``p(x_k | x_<k, y)``. Guidance of each of these conditionals differs from guidance of the
joint. Both multiply ``p(x)`` by a factor that depends on the sequence,

    ``s(x)  = p(y | x)^gamma / E_p(x)[p(y | x)^gamma]``   (the joint),
    ``s'(x) = prod_k p(y | x_<=k)^gamma / E_p(x_k | x_<k)[p(y | x_<=k)^gamma]``   (one symbol at a time),

and the second one is normalised after every symbol, regardless of the possible continuations. They agree for gamma 0
and 1, for sequences of one symbol, and for independent symbols (both given y and marginally).

A distribution over sequences of n symbols is an array of log-probabilities with n axes, one per symbol, of the length
of its vocabulary. If ``uncond`` is uniform, guidance is a temperature: ``p(x | y)^gamma``, of the joint or of the
conditionals.

Source: Dieleman 2022, "Guidance: a cheat code for diffusion models", on autoregressive models
(https://sander.ai/2022/05/26/guidance.html).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import Finite, checked
from scorekit.checks import check_like, check_not_nan
from scorekit.numerics import log_ratio, tilt, wide
from scorekit.typing import Array

__all__ = [
    "GuidedSequences",
    "conditional_log_probs",
    "guide_joint",
    "guide_sequentially",
    "joint_log_prob",
    "total_variation",
]


class GuidedSequences(NamedTuple):
    """A guided distribution over sequences.

    Attributes:
      log_prob: normalised log-probabilities of all sequences, ``(V_1, ..., V_n)``.
      log_factor: ``log_prob - log p(x)``, the logarithm of ``s`` or ``s'``; NaN where ``p(x) = 0``.

    >>> guided: GuidedSequences = guide_joint(jnp.log(jnp.array([0.25, 0.75])), jnp.log(jnp.array([0.5, 0.5])), 2.0)
    >>> guided.log_factor.shape
    (2,)
    """

    log_prob: Array
    log_factor: Array


def joint_log_prob(logits: Sequence[Array]) -> Array:
    """The log-probabilities of all sequences ``(V_1, ..., V_n)``: ``log p(x) = sum_k log p(x_k | x_<k)``.

    Args:
      logits: logits of ``p(x_k | x_<k)`` for each k, ``(V_1, ..., V_k)``: one axis for each preceding symbol, and
        a last axis for the symbol itself.

    >>> first, then = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([[0.5, 0.5], [1.0, 3.0]]))
    >>> jnp.exp(joint_log_prob([first, then])).tolist()
    [[0.25, 0.25], [0.125, 0.375]]
    """
    shapes = [jnp.shape(table) for table in logits]
    if not shapes or any(shape[:-1] != before for before, shape in zip([(), *shapes], shapes, strict=False)):
        raise ValueError(f"logits must have shapes (V_1,), (V_1, V_2), (V_1, V_2, V_3), ..., got {shapes}")
    _check_log_probs(logits=logits)
    total = jnp.zeros(())
    for table in logits:
        total = total[..., None] + jax.nn.log_softmax(wide(table))
    return total


def conditional_log_probs(log_prob: Array) -> tuple[Array, ...]:
    """The autoregressive factors of a distribution over sequences: ``log p(x_k | x_<k)`` for every k.

    Args:
      log_prob: ``(V_1, ..., V_n)``, not necessarily normalised.

    Returns:
      n arrays, the k-th of shape ``(V_1, ..., V_k)``; NaN after a prefix of probability 0.

    >>> joint = jnp.log(jnp.array([[0.25, 0.25], [0.125, 0.375]]))
    >>> jnp.exp(conditional_log_probs(joint)[1]).tolist()
    [[0.5, 0.5], [0.25, 0.75]]
    """
    _check_log_probs(log_prob=log_prob)
    if jnp.ndim(log_prob) < 1:
        raise ValueError(f"log_prob must have an axis for each symbol, got {log_prob}")
    marginals = [wide(log_prob)]  # of x_<=k, for k = n down to 1
    while marginals[-1].ndim > 1:
        marginals.append(jax.nn.logsumexp(marginals[-1], axis=-1))
    return tuple(jax.nn.log_softmax(marginal) for marginal in reversed(marginals))


@checked
def guide_joint(cond: Array, uncond: Array, guidance_scale: Finite[float]) -> GuidedSequences:
    """The guided joint: ``p(x)^(1 - gamma) p(x | y)^gamma`` over all sequences, normalised once.

    Args:
      cond: normalised log-probabilities ``log p(x | y)`` of all sequences, ``(V_1, ..., V_n)``.
      uncond: ``log p(x)``, shaped like ``cond``.
      guidance_scale: gamma, a finite scalar; 0 is unconditional, 1 plain conditional.

    >>> cond, uncond = jnp.log(jnp.array([0.25, 0.75])), jnp.log(jnp.array([0.5, 0.5]))
    >>> [f"{p:.3f}" for p in jnp.exp(guide_joint(cond, uncond, 2.0).log_prob)]  # 1 to 9
    ['0.100', '0.900']
    """
    _check_shapes(cond, uncond)
    tilted = tilt(uncond, log_ratio(cond, uncond), wide(guidance_scale))
    guided = tilted - jax.nn.logsumexp(tilted)
    return GuidedSequences(guided, guided - uncond)


@checked
def guide_sequentially(cond: Array, uncond: Array, guidance_scale: Finite[float]) -> GuidedSequences:
    """The distribution of guided autoregressive sampling: each ``p(x_k | x_<k)`` is guided and normalised by itself.

    Args:
      cond: normalised log-probabilities ``log p(x | y)`` of all sequences, ``(V_1, ..., V_n)``.
      uncond: ``log p(x)``, shaped like ``cond``.
      guidance_scale: gamma, a finite scalar; 0 is unconditional, 1 plain conditional.

    >>> even = jnp.log(jnp.full((2, 2), 0.25))
    >>> cond = jnp.log(jnp.array([[0.4, 0.1], [0.25, 0.25]]))  # both first symbols are equally likely
    >>> first_symbol = lambda guided: [f"{p:.3f}" for p in jnp.exp(guided.log_prob).sum(1)]
    >>> first_symbol(guide_joint(cond, even, 2.0)), first_symbol(guide_sequentially(cond, even, 2.0))
    (['0.576', '0.424'], ['0.500', '0.500'])
    """
    _check_shapes(cond, uncond)
    log_prob = jnp.zeros(())
    for c, u in zip(conditional_log_probs(cond), conditional_log_probs(uncond), strict=True):
        possible = jnp.isfinite(log_prob)[..., None]  # avoids NaN after a prefix of probability 0
        factor = jax.nn.log_softmax(jnp.where(possible, tilt(u, log_ratio(c, u), wide(guidance_scale)), 0.0))
        log_prob = log_prob[..., None] + factor
    return GuidedSequences(log_prob, log_prob - uncond)


def total_variation(log_p: Array, log_q: Array) -> Array:
    """The total variation distance ``sum |p - q| / 2``, in [0, 1]: the largest difference in probability of any event.

    Args:
      log_p: normalised log-probabilities, of any shape.
      log_q: log-probabilities of the other distribution, of the same shape.

    Returns:
      A scalar.

    >>> total_variation(jnp.log(jnp.array([0.25, 0.75])), jnp.log(jnp.array([0.5, 0.5]))).item()
    0.25
    """
    _check_log_probs(log_p=log_p, log_q=log_q)
    check_like("log_p", log_p, log_q=log_q)
    return 0.5 * jnp.sum(jnp.abs(jnp.exp(log_p) - jnp.exp(log_q)))


def _check_log_probs(**named):
    for name, tree in named.items():
        for leaf in jax.tree.leaves(tree):
            check_not_nan(**{name: leaf})
            if jnp.size(leaf) == 0:
                raise ValueError(f"{name} must hold values, got shape {jnp.shape(leaf)}")


def _check_shapes(cond, uncond):
    _check_log_probs(cond=cond, uncond=uncond)
    if jnp.shape(cond) != jnp.shape(uncond):
        raise ValueError(f"cond and uncond must have the same shape, got {jnp.shape(cond)} and {jnp.shape(uncond)}")

"""Retrieval: whether the match of an example is among the first of a gallery."""

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check_finite, check_real, nan_unless_finite
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike


@checked
def retrieval_accuracy(scores: ArrayLike, right: ArrayLike, k: PositiveInt = 1) -> Array:
    """Whether one of the right entries of a gallery is among the k with the highest scores; its mean is recall at k.

    ``1 - C(t - r, m) / C(t, m)`` with ``m = min(max(k - a, 0), t)``, where ``a`` entries have a higher score than the
    best right entry, and ``t`` entries have its score, r of them right.

    This is the probability for each example, ``(N,)``, under a random order of entries with equal scores: 0 or 1
    without such. Equal scores of the whole gallery therefore give chance.

    Args:
      scores: scores ``(N, G)`` of each example with each entry, such as cosines of images and captions; N >= 1.
      right: whether an entry belongs to an example, booleans ``(N, G)``; at least one True for each example.
      k: number of retrieved entries; values above G act like G.

    >>> scores = jnp.array([[0.9, 0.1, 0.5], [0.2, 0.7, 0.7], [0.4, 0.4, 0.4]])
    >>> right = jnp.array([[True, False, False], [False, False, True], [True, False, False]])
    >>> print(np.round(np.asarray([retrieval_accuracy(scores, right, k) for k in (1, 2)], float), 3))
    [[1.    0.5   0.333]
     [1.    1.    0.667]]

    Source: Xu et al. 2018, "AttnGAN: Fine-grained text to image generation with attentional generative adversarial
    networks" (https://arxiv.org/abs/1711.10485), for the retrieval of captions by generated images.
    """
    check_real(scores=scores)
    scores, right = jnp.asarray(scores, float), jnp.asarray(right)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores must be (N, G) with N >= 1 and G >= 1, got {scores.shape}")
    if right.shape != scores.shape or right.dtype != bool:
        raise ValueError(f"right must be booleans {scores.shape}, got {right.dtype} {right.shape}")
    check_finite(scores=scores)
    some = jnp.any(right, axis=1)
    if not is_traced(right) and not np.all(some):
        raise ValueError(f"right must hold an entry for each example, example {int(np.argmin(some))} has none")
    best = jnp.max(jnp.where(right, scores, -jnp.inf), axis=1, keepdims=True)
    above = jnp.sum(scores > best, axis=1)
    tied = jnp.sum(scores == best, axis=1)
    wrong = tied - jnp.sum(right & (scores == best), axis=1)
    drawn = jnp.arange(min(k, scores.shape[1]))[:, None]  # one after another from those that are tied
    missed = jnp.maximum(wrong - drawn, 0) / jnp.maximum(tied - drawn, 1)
    missed = jnp.prod(jnp.where(drawn < k - above, missed, 1.0), axis=0)
    found = jnp.where(some, 1.0 - missed, jnp.nan).astype(scores.dtype)
    return nan_unless_finite(found, scores)

"""Unit vectors that pictures and captions share: how they are learned, and moving between them.

Two encoders give a picture and its caption vectors of norm 1 whose inner product, over a temperature, is the logit of
their belonging together (CLIP). Points of this sphere are conditions of a decoder, and what a diffusion prior draws
from a caption (DALL·E 2).
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check, check_floating, check_like, check_scalar
from scorekit.typing import Array, ArrayLike

__all__ = ["closest", "contrastive_loss", "slerp", "text_difference"]


def contrastive_loss(
    pictures: Array, captions: Array, log_temperature: ArrayLike, subjects: ArrayLike | None = None
) -> Array:
    """The symmetric cross-entropy of finding the caption of each picture, and the picture of each caption, in a batch.

    ``loss_i = -(log softmax_j(<p_i, c_j> / tau)_i + log softmax_j(<p_j, c_i> / tau)_i) / 2``

    The softmax is over the batch. A pair of two different examples of one subject is no negative: it is left out of
    the sum, since the caption of the one describes the other too.

    Args:
      pictures: embeddings of pictures, of norm 1, ``(B, D)``.
      captions: embeddings of their captions, of norm 1, ``(B, D)``.
      log_temperature: ``log tau``, a scalar.
      subjects: integers ``(B,)``, equal for examples that show the same; None if all of them differ.

    Returns:
      The loss of each example in nats, ``(B,)``; ``log B`` where all similarities are equal.

    Raises:
      ValueError: unless both embeddings are floating of one shape ``(B, D)``, the temperature a finite scalar, and
        the subjects integers ``(B,)``.

    >>> loss = contrastive_loss(jnp.eye(2), jnp.eye(2), 0.0)  # log(1 + 1 / e)
    >>> [round(float(x), 4) for x in loss]
    [0.3133, 0.3133]

    Source: Radford et al. 2021, "CLIP" (https://arxiv.org/abs/2103.00020).
    """
    _check_vectors(pictures=pictures)
    check_floating(captions=captions)
    check_like("pictures", pictures, captions=captions)
    check_scalar(log_temperature=log_temperature)
    check(np.isfinite, "finite", log_temperature=log_temperature)
    p, c = (jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32)) for x in (pictures, captions))
    logits = jnp.matmul(p, c.T, precision=jax.lax.Precision.HIGHEST) * jnp.exp(-jnp.asarray(log_temperature, p.dtype))
    right = jnp.diagonal(logits)
    if subjects is not None:
        integer = jnp.issubdtype(jnp.result_type(subjects), jnp.integer)
        if jnp.shape(subjects) != right.shape or not integer:
            raise ValueError(f"subjects must be integers {right.shape}, got {subjects}")
        subjects = jnp.asarray(subjects)
        others = (subjects[:, None] == subjects) & ~jnp.eye(len(right), dtype=bool)
        logits = jnp.where(others, -jnp.inf, logits)
    both = jax.nn.logsumexp(logits, axis=0) + jax.nn.logsumexp(logits, axis=1)
    return 0.5 * both - right


def slerp(start: Array, end: Array, weight: ArrayLike) -> Array:
    """Spherical interpolation: a point of the arc from one unit vector to another, at constant speed.

    ``(sin((1 - w) theta) start + sin(w theta) end) / sin(theta)``, ``theta`` the angle between them.

    Args:
      start: of norm 1, ``(..., D)``.
      end: likewise; between opposite vectors there is no one shortest arc, and the result is NaN.
      weight: w, 0 at the start and 1 at the end; it broadcasts against the leading axes.

    Returns:
      Of norm 1, ``(..., D)``.

    Raises:
      ValueError: unless both are floating of one shape ``(..., D)`` and the weight broadcasts against their leading
        axes.

    >>> [round(float(x), 4) for x in slerp(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), 1 / 3)]
    [0.866, 0.5]

    Source: Shoemake 1985, "Animating rotation with quaternion curves"; Ramesh et al. 2022
    (https://arxiv.org/abs/2204.06125).
    """
    _check_vectors(rank=None, start=start)
    check_floating(end=end)
    check_like("start", start, end=end)
    check(np.isfinite, "finite", weight=weight)
    weight = jnp.asarray(weight, start.dtype)
    try:
        fits = jnp.broadcast_shapes(weight.shape, start.shape[:-1]) == start.shape[:-1]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"weight must broadcast against {start.shape[:-1]}, got shape {weight.shape}")
    w = weight[..., None]
    together = _norm(start + end)
    turns = 2.0 * jnp.arctan2(_norm(start - end), together) / jnp.pi  # sinc(x) = sin(pi x) / (pi x)
    first, second = (share * jnp.sinc(share * turns) for share in (1.0 - w, w))
    return jnp.where(together > 0, (first * start + second * end) / jnp.sinc(turns), jnp.nan)


def text_difference(picture: Array, before: Array, after: Array, weight: ArrayLike) -> Array:
    """An embedding of a picture, moved by what one caption has that another has not.

    ``slerp(picture, (after - before) / |after - before|, w)``

    Args:
      picture: of norm 1, ``(..., D)``.
      before: the embedding of a caption of the picture as it is, of norm 1, ``(..., D)``.
      after: that of a caption of the picture as it is to be, likewise; another one than ``before``.
      weight: w, 0 for the picture as it is; from 0.25 to 0.5 in the paper.

    Returns:
      Of norm 1, ``(..., D)``.

    Raises:
      ValueError: unless the three are floating of one shape, the two captions differ, and the weight broadcasts
        against their leading axes.

    >>> cat, day, night = jnp.eye(3)
    >>> [round(float(x), 4) for x in text_difference(cat, day, night, 0.5)]
    [0.7071, -0.5, 0.5]

    Source: Ramesh et al. 2022 (https://arxiv.org/abs/2204.06125).
    """
    _check_vectors(rank=None, picture=picture)
    check_floating(before=before, after=after)
    check_like("picture", picture, before=before, after=after)
    difference = after - before
    length = jnp.linalg.norm(difference, axis=-1, keepdims=True)
    check(lambda x: x > 0, "another embedding than before", after=length)
    return slerp(picture, difference / length, weight)


def closest(candidates: Array, target: Array) -> Array:
    """Of several embeddings the one with the largest inner product with a target.

    ``found = candidates_k``, with ``k = argmax_j <candidates_j, target>``

    Args:
      candidates: ``(..., n, D)``.
      target: ``(..., D)``.

    Returns:
      ``(..., D)``.

    Raises:
      ValueError: unless both are floating, with these shapes and n at least 1.

    >>> closest(jnp.array([[0.6, 0.8], [0.8, 0.6]]), jnp.array([1.0, 0.0])).tolist()
    [0.800000011920929, 0.6000000238418579]

    Source: Ramesh et al. 2022 (https://arxiv.org/abs/2204.06125).
    """
    _check_vectors(rank=None, target=target)
    check_floating(candidates=candidates)
    shape = jnp.shape(candidates)
    if len(shape) != target.ndim + 1 or shape[-2] < 1 or (*shape[:-2], shape[-1]) != target.shape:
        expected = ", ".join(map(str, (*target.shape[:-1], "n", target.shape[-1])))
        raise ValueError(f"candidates must have shape ({expected}), n at least 1, as target has them, got {shape}")
    scores = jnp.einsum("...nd,...d->...n", candidates, target)
    found = jnp.take_along_axis(candidates, jnp.argmax(scores, axis=-1)[..., None, None], axis=-2)[..., 0, :]
    return jnp.where(jnp.isnan(scores).any(-1, keepdims=True), jnp.nan, found)


def _norm(x: Array) -> Array:
    """The norm along the last axis, which is kept; its gradient at 0 is 0."""
    square = jnp.square(x).sum(-1, keepdims=True)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _check_vectors(rank: int | None = 2, **named: Array) -> None:
    """Raises ``ValueError`` unless a batch of vectors is floating, of this rank where one is given, and not empty."""
    check_floating(**named)
    for name, value in named.items():
        if (value.ndim != rank if rank else value.ndim < 1) or 0 in value.shape:
            raise ValueError(f"{name} must have shape ({'B' if rank else '...'}, D), none of them 0, got {value.shape}")

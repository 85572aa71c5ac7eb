"""Unit vectors that images and captions share: how they are learned, and moving between them.

Two encoders give an image and its caption vectors of norm 1 whose inner product, over a temperature, is the logit of
their belonging together (CLIP). Points of this sphere are conditions of a decoder, and the samples that a diffusion
prior draws for a caption (DALL·E 2).

Source: Radford et al. 2021, "CLIP" (https://arxiv.org/abs/2103.00020); Ramesh et al. 2022
(https://arxiv.org/abs/2204.06125).
"""

import jax
import jax.numpy as jnp

from scorekit.arguments import Finite, checked
from scorekit.checks import check, check_floating, check_like
from scorekit.numerics import wide
from scorekit.numerics.codes import as_array
from scorekit.numerics.meshes import unsplit
from scorekit.typing import Array, ArrayLike

__all__ = ["closest", "contrastive_loss", "slerp", "text_difference"]


@checked
def contrastive_loss(
    pictures: Array, captions: Array, log_temperature: Finite[float], subjects: ArrayLike | None = None
) -> Array:
    """The symmetric cross-entropy of finding the caption of each image, and the image of each caption, in a batch.

    ``loss_i = -(log softmax_j(<p_i, c_j> / tau)_i + log softmax_j(<p_j, c_i> / tau)_i) / 2``

    The softmax is over the batch. A pair of two different examples of one subject is no negative: it is left out of
    the sum, since the caption of the one describes the other too.

    Args:
      pictures: embeddings of images, of norm 1, ``(B, D)``.
      captions: embeddings of their captions, of norm 1, ``(B, D)``.
      log_temperature: logarithm of the temperature tau.
      subjects: integers ``(B,)``, equal for examples that show the same; None if all of them differ.

    Returns:
      The loss of each example in nats, ``(B,)``; ``log B`` where all similarities are equal.

    >>> [round(float(x), 4) for x in contrastive_loss(jnp.eye(2), jnp.eye(2), 0.0)]  # log(1 + 1 / e)
    [0.3133, 0.3133]
    """
    _check_vectors(pictures=pictures)
    check_floating(captions=captions)
    check_like("pictures", pictures, captions=captions)
    p, c = (wide(x) for x in (pictures, captions))
    scale = jnp.exp(-jnp.asarray(log_temperature, p.dtype))
    logits = jnp.matmul(p, unsplit(c).T, precision=jax.lax.Precision.HIGHEST) * scale
    own = jnp.eye(len(p), dtype=bool)
    right = jnp.sum(jnp.where(own, logits, 0.0), axis=1)
    if subjects is not None:
        integer = jnp.issubdtype(jnp.result_type(subjects), jnp.integer)
        if jnp.shape(subjects) != right.shape or not integer:
            raise ValueError(f"subjects must be integers {right.shape}, got {subjects}")
        subjects = as_array(subjects, "subjects")
        others = (subjects[:, None] == unsplit(subjects)) & ~own
        logits = jnp.where(others, -jnp.inf, logits)
    both = jax.nn.logsumexp(logits, axis=0) + jax.nn.logsumexp(logits, axis=1)
    return 0.5 * both - right


@checked
def slerp(start: Array, end: Array, weight: Finite[ArrayLike]) -> Array:
    """Spherical interpolation: a point of the arc from one unit vector to another, ``(..., D)``, at constant speed.

    ``(sin((1 - w) theta) start + sin(w theta) end) / sin(theta)``, ``theta`` the angle between them.

    Args:
      start: vectors of norm 1, ``(..., D)``.
      end: vectors of norm 1, ``(..., D)``; between opposite vectors there is no one shortest arc, and the result is
        NaN.
      weight: position w, 0 at the start and 1 at the end; it broadcasts against the leading axes.

    >>> slerp(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), 1 / 3).round(4)
    Array([0.866, 0.5  ], dtype=float32)

    Source: Shoemake 1985, "Animating rotation with quaternion curves".
    """
    _check_vectors(rank=None, start=start)
    check_floating(end=end)
    check_like("start", start, end=end)
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
    first, second = (part * jnp.sinc(part * turns) for part in (1.0 - w, w))
    return jnp.where(together > 0, (first * start + second * end) / jnp.sinc(turns), jnp.nan)


@checked
def text_difference(picture: Array, before: Array, after: Array, weight: Finite[ArrayLike]) -> Array:
    """An embedding of an image, moved by the difference of two captions: ``(..., D)`` of norm 1.

    ``slerp(picture, (after - before) / |after - before|, w)``

    Args:
      picture: embedding of the image, of norm 1, ``(..., D)``.
      before: embedding of a caption of the image as it is, of norm 1, ``(..., D)``.
      after: embedding of a caption of the image as it is to be, another one than ``before``, of norm 1, ``(..., D)``.
      weight: position w, 0 for the image as it is; from 0.25 to 0.5 in the paper; it broadcasts against the leading
        axes.

    >>> cat, day, night = jnp.eye(3)
    >>> text_difference(cat, day, night, 0.5).round(4)
    Array([ 0.7071, -0.5   ,  0.5   ], dtype=float32)
    """
    _check_vectors(rank=None, picture=picture)
    check_floating(before=before, after=after)
    check_like("picture", picture, before=before, after=after)
    difference = after - before
    length = jnp.linalg.norm(difference, axis=-1, keepdims=True)
    check(lambda x: x > 0, "another embedding than before", after=length)
    return slerp(picture, difference / length, weight)


def closest(candidates: Array, target: Array) -> Array:
    """The embedding with the largest inner product with a target.

    ``candidates_k`` with ``k = argmax_j <candidates_j, target>``

    Args:
      candidates: the embeddings, ``(..., n, D)``, n >= 1.
      target: the target, ``(..., D)``.

    >>> closest(jnp.eye(2), jnp.array([0.5, 1.0]))
    Array([0., 1.], dtype=float32)
    """
    _check_vectors(rank=None, target=target)
    check_floating(candidates=candidates)
    shape = jnp.shape(candidates)
    if len(shape) != target.ndim + 1 or shape[-2] < 1 or (*shape[:-2], shape[-1]) != target.shape:
        expected = ", ".join(map(str, (*target.shape[:-1], "n", target.shape[-1])))
        raise ValueError(f"candidates must have shape ({expected}), n at least 1, as target has them, got {shape}")
    scores = jnp.einsum("...nd,...d->...n", candidates, target)
    nearest = jnp.take_along_axis(candidates, jnp.argmax(scores, axis=-1)[..., None, None], axis=-2)[..., 0, :]
    return jnp.where(jnp.isnan(scores).any(-1, keepdims=True), jnp.nan, nearest)


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

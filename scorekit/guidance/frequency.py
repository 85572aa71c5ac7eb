"""Frequency-decoupled guidance: a scale for each band of a Laplacian pyramid."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from scorekit.guidance.rules import Scale, number_at, rule
from scorekit.trees import combine
from scorekit.typing import Array, Denoiser, Prediction


def _shrink(x, axis):
    """Every second value along an axis, after the binomial filter (1, 4, 6, 4, 1) / 16."""
    n = x.shape[axis]
    padded = jnp.pad(x, [(2, 2) if i == axis else (0, 0) for i in range(x.ndim)], mode="edge")
    a, b, c, d, e = (jax.lax.slice_in_dim(padded, k, k + n, stride=2, axis=axis) for k in range(5))
    return (a + 4 * b + 6 * c + 4 * d + e) / 16


def _grow(x, n, axis):
    """``n`` values from half as many: zeros between them, and twice the same filter."""
    m = x.shape[axis]
    padded = jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(x.ndim)], mode="edge")
    before, here, after = (jax.lax.slice_in_dim(padded, k, k + m, axis=axis) for k in range(3))
    pairs = jnp.stack([(before + 6 * here + after) / 8, (here + after) / 2], axis=axis + 1)
    return jax.lax.slice_in_dim(pairs.reshape(*x.shape[:axis], 2 * m, *x.shape[axis + 1 :]), 0, n, axis=axis)


def _grow_to(x, shape):
    for axis in range(1, x.ndim - 1):
        x = _grow(x, shape[axis], axis)
    return x


def laplacian_pyramid(x: Array, levels: int) -> list[Array]:
    """Bands from fine to coarse, each half the size of the one before; the last is the rest.

    Args:
      x: ``(B, H, W, C)``, ``(B, L, C)``, or any number of axes between the batch and the channels.
      levels: number of bands, at least 1.

    Raises:
      ValueError: if there is no axis between the batch and the channels.

    >>> [band.shape for band in laplacian_pyramid(jnp.ones((1, 8, 5, 1)), 3)]
    [(1, 8, 5, 1), (1, 4, 3, 1), (1, 2, 2, 1)]

    Source: Burt & Adelson 1983, with a = 3/8.
    """
    if x.ndim < 3:
        raise ValueError(f"x must be (B, ..., C) with axes between batch and channels, got shape {x.shape}")
    bands = []
    for _ in range(levels - 1):
        small = x
        for axis in range(1, x.ndim - 1):
            small = _shrink(small, axis)
        bands.append(x - _grow_to(small, x.shape))
        x = small
    return [*bands, x]


def from_pyramid(bands: Sequence[Array]) -> Array:
    """The array with these bands: ``from_pyramid(laplacian_pyramid(x, n))`` is ``x``.

    >>> bool(jnp.allclose(from_pyramid(laplacian_pyramid(jnp.arange(7.0)[None, :, None], 3))[0, :, 0], jnp.arange(7.0)))
    True
    """
    *finer, x = bands
    for band in reversed(finer):
        x = band + _grow_to(x, band.shape)
    return x


def _by_bands(predictions, x_t, t, *scales):
    cond, uncond = predictions
    scales = [number_at(scale, t) for scale in scales]

    def half(c, u):
        bands = laplacian_pyramid(c - u, len(scales))
        weighted = [combine((scale, band)) for scale, band in zip(scales, bands, strict=True)]
        return u + from_pyramid(weighted)

    return Prediction(*(jax.tree.map(half, c, u) for c, u in zip(cond, uncond, strict=True)))


def frequency_decoupled(cond: Denoiser, uncond: Denoiser, guidance_scales: Sequence[Scale]) -> Denoiser:
    """Guides every frequency band by its own scale: ``uncond + sum_k gamma_k L_k (cond - uncond)``.

    ``L_k`` takes the k-th band of a Laplacian pyramid; the bands add up, so that equal scales are
    :func:`classifier_free`. High scales in the fine bands sharpen; low ones in the coarse band keep diversity and
    colour.

    Args:
      cond: the conditional denoiser of arrays ``(B, H, W, C)`` or ``(B, L, C)``.
      uncond: the unconditional one.
      guidance_scales: from the finest band to the coarsest; their number is that of the levels, at least 1.

    Raises:
      ValueError: without a scale; when called, for arrays that have no axes between batch and channels.

    >>> cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (1.0, 0.0))
    >>> frequency_decoupled(cond, uncond, [8.0, 2.0])(jnp.ones((1, 4, 1)), 0.5).x0.ravel()  # it differs by a constant
    Array([2., 2., 2., 2.], dtype=float32)

    Source: Sadat et al. 2025, alg. 1 (https://arxiv.org/abs/2506.19713).
    """
    if not guidance_scales:
        raise ValueError("guidance_scales must hold at least one scale, got none")
    return rule(_by_bands, (cond, uncond), *guidance_scales)

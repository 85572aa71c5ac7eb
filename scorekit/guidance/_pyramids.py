"""Laplacian pyramids of arrays with any number of spatial axes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from scorekit.typing import Array


def _padded(x, count, axis):
    """The first and the last value along an axis repeated; nothing is cut along the batch, which may be split."""
    ends = (jax.lax.index_in_dim(x, k, axis) for k in (0, -1))
    first, last = (jnp.concatenate([end] * count, axis=axis) for end in ends)
    return jnp.concatenate([first, x, last], axis=axis)


def _downsample(x, axis):
    """Every second value along an axis, after the binomial filter (1, 4, 6, 4, 1) / 16."""
    n = x.shape[axis]
    padded = _padded(x, 2, axis)
    a, b, c, d, e = (jax.lax.slice_in_dim(padded, k, k + n, stride=2, axis=axis) for k in range(5))
    return (a + 4 * b + 6 * c + 4 * d + e) / 16


def _upsample(x, n, axis):
    """``n`` values from half as many: zeros in between, then twice the same filter."""
    m = x.shape[axis]
    padded = _padded(x, 1, axis)
    before, here, after = (jax.lax.slice_in_dim(padded, k, k + m, axis=axis) for k in range(3))
    pairs = jnp.stack([(before + 6 * here + after) / 8, (here + after) / 2], axis=axis + 1)
    return jax.lax.slice_in_dim(pairs.reshape(*x.shape[:axis], 2 * m, *x.shape[axis + 1 :]), 0, n, axis=axis)


def _upsample_to(x, shape):
    for axis in range(1, x.ndim - 1):
        x = _upsample(x, shape[axis], axis)
    return x


def laplacian_pyramid(x: Array, num_bands: int) -> list[Array]:
    """A Laplacian pyramid: bands from fine to coarse, each half the size of the one before; the last is the residual.

    Args:
      x: ``(B, H, W, C)``, ``(B, L, C)``, or any number of axes between the batch and the channels, at least one.
      num_bands: number of bands.

    >>> [band.shape for band in jax.jit(laplacian_pyramid, static_argnums=1)(jnp.ones((1, 8, 5, 1)), 3)]
    [(1, 8, 5, 1), (1, 4, 3, 1), (1, 2, 2, 1)]

    Source: Burt & Adelson 1983, with a = 3/8.
    """
    if x.ndim < 3:
        raise ValueError(f"x must be (B, ..., C) with axes between batch and channels, got shape {x.shape}")
    bands = []
    for _ in range(num_bands - 1):
        small = x
        for axis in range(1, x.ndim - 1):
            small = _downsample(small, axis)
        bands.append(x - _upsample_to(small, x.shape))
        x = small
    return [*bands, x]


def from_pyramid(bands: Sequence[Array]) -> Array:
    """Reconstructs an array from its bands: ``from_pyramid(laplacian_pyramid(x, n))`` is ``x``.

    >>> again = jax.jit(lambda x: from_pyramid(laplacian_pyramid(x, 3)))(jnp.arange(7.0).reshape(1, 7, 1))
    >>> again.ravel().round(4).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    """
    *finer, x = bands
    for band in reversed(finer):
        x = band + _upsample_to(x, band.shape)
    return x
